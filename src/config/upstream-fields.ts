import { quoted, UnitError } from './units.ts';

const MAX_PATTERN_LENGTH = 255;
/** A path component of a repository name (OCI distribution-spec, `<name>`), with `*` or `**` at any place. */
const PATTERN_COMPONENT = /^(?:[a-z0-9._-]|\*{1,2}(?!\*))+$/;

/** A glob for whole repository names: `acme/*`, `**`. Throws UnitError. */
export function parseRepositoryPattern(text: string): string {
  const isPattern = text.split('/').every((component) => PATTERN_COMPONENT.test(component));
  if (!isPattern || text.length > MAX_PATTERN_LENGTH) {
    throw new UnitError(`${quoted(text)} is not a repository pattern`);
  }
  return text;
}

/** A user name for Basic authentication, which ends it at the first colon (RFC 7617, section 2). Throws UnitError. */
export function parseUsername(text: string): string {
  if (!/^[^:\p{Cc}]+$/u.test(text)) throw new UnitError(`${quoted(text)} is not a user name`);
  return text;
}
