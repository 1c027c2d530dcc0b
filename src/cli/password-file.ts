/** Whom a password is for. */
export interface Connection {
  host: string;
  port: string;
  database: string;
  user: string;
}

/**
 * The password in the text of a password file, as libpq has them: the first line whose host, port, database
 * and user fit (`*` fits all), with `:` and `\` escaped by `\`. undefined: none fits.
 */
export function passwordIn(text: string, is: Connection): string | undefined {
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    const [host, port, database, user, password] = fieldsOf(line);
    const fits = (field: string | undefined, value: string) => field === '*' || field === value;
    if (
      fits(host, is.host) &&
      fits(port, is.port) &&
      fits(database, is.database) &&
      fits(user, is.user)
    ) {
      return password === '' ? undefined : password;
    }
  }
  return undefined;
}

function fieldsOf(line: string): string[] {
  return [...line.matchAll(/(?:^|:)((?:\\.|[^:\\])*)/g)].map(([, field = '']) =>
    field.replace(/\\(.)/g, '$1'),
  );
}
