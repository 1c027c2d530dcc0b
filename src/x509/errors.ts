/** What is wrong with input that only throws: `ERR_X509_PEM` or `ERR_X509_KEY`. */
export class X509Error extends Error {
  readonly code: 'ERR_X509_PEM' | 'ERR_X509_KEY';

  constructor(code: X509Error['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'X509Error';
    this.code = code;
  }
}
