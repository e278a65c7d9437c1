import { registryPattern } from '../oci/reference.ts';
import { quoted, UnitError } from './units.ts';
import { parseUsername } from './upstream-fields.ts';

const MAX_PATTERN_LENGTH = 512;
/** A host, with a port perhaps, then components of a repository name, with `*` or `**` at any place. */
const PATTERN = /^(?:[a-z0-9.:-]|\*{1,2}(?!\*))+(?:\/(?:[a-z0-9._-]|\*{1,2}(?!\*))+)*$/;

/**
 * A glob for repositories with their registries: `docker.io/library/*`, `**`. One whose first component cannot be a
 * registry would fit nothing, and whoever wrote it meant Docker Hub's. Throws UnitError.
 */
export function parseAccountPattern(text: string): string {
  const [host = ''] = text.split('/');
  if (!PATTERN.test(text) || text.length > MAX_PATTERN_LENGTH)
    throw new UnitError(`${quoted(text)} is not a pattern`);
  if (!/[.:*]/.test(host) && host !== 'localhost') {
    throw new UnitError(
      `${quoted(text)} does not begin with a registry; docker.io/${text} is one of Docker Hub`,
    );
  }
  return registryPattern(text);
}

/** `*` or a user name. Throws UnitError. */
export function parseAccountName(text: string): string {
  return text === '*' ? text : parseUsername(text);
}
