import { FileError } from '../lib/file-error.ts';

/** A token is looked up and not slowly hashed, so it must not be one that can be guessed: padding does not count. */
const MIN_LENGTH = 20;
/** What may follow `Bearer` (RFC 6750, section 2.1). */
const TOKEN = new RegExp(`^[\\w.~+/-]{${MIN_LENGTH},}=*$`);

/** Account names by token: lines of `name:token`. Throws FileError, which names the line. */
export function parseTokenFile(text: string): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const token = line.slice(colon + 1);
    const where = `line ${index + 1} of the tokens file`;
    if (colon < 1 || !TOKEN.test(token)) {
      throw new FileError(
        `${where} is not name:token with a token of at least ${MIN_LENGTH} letters, digits and -._~+/ before any padding`,
      );
    }
    if (names.has(token)) throw new FileError(`${where} gives the token of another line`);
    names.set(token, line.slice(0, colon));
  }
  return names;
}
