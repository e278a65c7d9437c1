/** What a request to the registry API names, not yet validated: names and references are as the client spelled them. */
export type RegistryPath =
  | { readonly kind: 'ping' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'manifest'; readonly name: string; readonly reference: string }
  | { readonly kind: 'blob'; readonly name: string; readonly digest: string }
  | { readonly kind: 'tags'; readonly name: string }
  | { readonly kind: 'referrers'; readonly name: string; readonly digest: string }
  | { readonly kind: 'unknown' };

const UNKNOWN: RegistryPath = { kind: 'unknown' };

/**
 * Reads the path of a request target (`/v2/library/golang/manifests/1.22`, no query) as the client sent it. It is
 * never normalised: dot segments stay, and an encoded slash makes the path unknown instead of a separator, so that
 * no spelling reaches a name that the grammar would not let through. A repository may itself contain route words
 * (`a/manifests/b`): the last one counts. OCI distribution-spec, "Endpoints".
 */
export function parseRegistryPath(path: string): RegistryPath {
  if (path === '/v2/' || path === '/v2') return { kind: 'ping' };
  if (!path.startsWith('/v2/')) return UNKNOWN;
  const rest = decodeSegments(path.slice(4));
  if (rest === undefined) return UNKNOWN;
  if (rest === '_catalog') return { kind: 'catalog' };
  const beforeLast = rest.lastIndexOf('/');
  const beforeWord = rest.lastIndexOf('/', beforeLast - 1);
  if (beforeWord <= 0) return UNKNOWN;
  const last = rest.slice(beforeLast + 1);
  const name = rest.slice(0, beforeWord);
  if (last === '') return UNKNOWN;
  switch (rest.slice(beforeWord + 1, beforeLast)) {
    case 'manifests':
      return { kind: 'manifest', name, reference: last };
    case 'blobs':
      return { kind: 'blob', name, digest: last };
    case 'referrers':
      return { kind: 'referrers', name, digest: last };
    case 'tags':
      return last === 'list' ? { kind: 'tags', name } : UNKNOWN;
    default:
      return UNKNOWN;
  }
}

/** Some clients encode the colon of a digest (`sha256%3A…`), so segments are decoded, each on its own. */
function decodeSegments(rest: string): string | undefined {
  if (!rest.includes('%')) return rest;
  try {
    const decoded = rest.split('/').map(decodeURIComponent);
    return decoded.some((segment) => segment.includes('/')) ? undefined : decoded.join('/');
  } catch {
    return undefined;
  }
}
