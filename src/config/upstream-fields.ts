import { isRegistryHost } from './addresses.ts';
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

/** A tag (OCI distribution-spec, `<reference>`) with `*` at any place. */
const TAG_PATTERN = /^[\w*][\w.*-]{0,127}$/;

/** A glob for repositories, or for some of their tags: `acme/**`, `library/golang:1.*`. Throws UnitError. */
export function parsePullPattern(text: string): string {
  const colon = text.indexOf(':');
  if (colon < 0) return parseRepositoryPattern(text);
  const tag = text.slice(colon + 1);
  if (!TAG_PATTERN.test(tag)) throw new UnitError(`${quoted(text)} is not a pattern for repository:tag`);
  return `${parseRepositoryPattern(text.slice(0, colon))}:${tag}`;
}

/** A host with an optional port, in lower case. Throws UnitError. */
export function parseHost(text: string): string {
  if (!isRegistryHost(text)) throw new UnitError(`${quoted(text)} is not a host in lower case`);
  return text;
}

/** The name of a credential helper, which is what follows `docker-credential-` in its program's. Throws UnitError. */
export function parseHelperName(text: string): string {
  if (!/^\w[\w.-]{0,63}$/.test(text)) throw new UnitError(`${quoted(text)} is not the name of a helper`);
  return text;
}

/** A user name for Basic authentication, which ends it at the first colon (RFC 7617, section 2). Throws UnitError. */
export function parseUsername(text: string): string {
  if (!/^[^:\p{Cc}]+$/u.test(text)) throw new UnitError(`${quoted(text)} is not a user name`);
  return text;
}
