import { FileError } from '../lib/errors.ts';

/** bcrypt in the form of `htpasswd -B`: version, cost, 22 characters of salt, 31 of hash. */
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;
const MIN_COST = 4;
/** One check of this cost takes seconds. Each step doubles the time. */
const MAX_COST = 14;

/** bcrypt hashes by user name. Throws FileError, which names the line. */
export function parseHtpasswd(text: string): ReadonlyMap<string, string> {
  const hashes = new Map<string, string>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const hash = line.slice(colon + 1);
    const cost = Number(BCRYPT.exec(hash)?.[1]);
    const where = `line ${index + 1} of the htpasswd file`;
    if (colon < 1 || !(cost >= MIN_COST && cost <= MAX_COST)) {
      throw new FileError(
        `${where} is not name:hash with a bcrypt hash of cost ${MIN_COST} to ${MAX_COST} (htpasswd -B -C 10)`,
      );
    }
    const name = line.slice(0, colon);
    if (hashes.has(name)) throw new FileError(`${where} names the user of an earlier line`);
    hashes.set(name, hash);
  }
  return hashes;
}

/** A token is looked up, not hashed slowly. So it must be too long to guess. Padding does not count. */
const MIN_LENGTH = 20;
/** RFC 6750, section 2.1. */
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
    if (names.has(token)) throw new FileError(`${where} has the token of an earlier line`);
    names.set(token, line.slice(0, colon));
  }
  return names;
}
