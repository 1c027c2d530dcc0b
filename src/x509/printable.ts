const MAX_SHOWN = 100;
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Foreign text made safe for a reason, a terminal or a log: printable ASCII stays, all else
 * becomes `\xNN` (ASCII) or `\u{…}`, and the result has at most 100 characters.
 */
export function showText(text: string): string {
  return show(text, (code) => (code < 0x80 ? hex(code) : `\\u{${code.toString(16)}}`));
}

/** {@link showText} for bytes: as UTF-8 where they are UTF-8, else each high byte as `\xNN`. */
export function showBytes(bytes: Uint8Array): string {
  const text = utf8(bytes);
  return text === undefined ? show(Buffer.from(bytes).toString('latin1'), hex) : showText(text);
}

/** The text of UTF-8 bytes, undefined if they are not UTF-8. */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * Text from a certificate for people to read: letters of every script stay, control, format and
 * bidirectional characters become `\u{…}`.
 */
export function withoutControls(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) => {
    return `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
  });
}

function show(text: string, escape: (code: number) => string): string {
  let shown = '';
  let cut = 0;
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    // The backslash too, so that nobody can write what looks like our escapes.
    const next = code >= 0x20 && code < 0x7f && char !== '\\' ? char : escape(code);
    if (shown.length + next.length > MAX_SHOWN) return `${shown.slice(0, cut)}...`;
    shown += next;
    if (shown.length <= MAX_SHOWN - 3) cut = shown.length;
  }
  return shown;
}

function hex(code: number): string {
  return `\\x${code.toString(16).padStart(2, '0')}`;
}
