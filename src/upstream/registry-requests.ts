import type { Digest } from '../oci/digest.ts';
import { OCI_INDEX, UPSTREAM_ACCEPT } from '../oci/media-types.ts';
import { referenceText, type Reference } from '../oci/reference.ts';
import { tagPageQuery, type TagPage } from '../oci/tag-page.ts';
import type { RegistryRequest } from './courier.ts';

export function manifestRequest(
  method: 'GET' | 'HEAD',
  repository: string,
  reference: Reference,
): RegistryRequest {
  const path = `/manifests/${referenceText(reference)}`;
  return { kind: 'manifest', method, repository, path, headers: { accept: UPSTREAM_ACCEPT } };
}

export function tagsRequest(repository: string, page: TagPage): RegistryRequest {
  const text = tagPageQuery(page).toString();
  const path = `/tags/list${text === '' ? '' : `?${text}`}`;
  return { kind: 'tags', method: 'GET', repository, path, headers: { accept: 'application/json' } };
}

export function blobRequest(
  method: 'GET' | 'HEAD',
  target: { readonly repository: string; readonly digest: Digest; readonly range?: string },
): RegistryRequest {
  const { repository, digest, range } = target;
  const headers = { accept: '*/*', ...(range === undefined ? {} : { range }) };
  return { kind: 'blob', method, repository, path: `/blobs/${digest}`, headers };
}

/** `query`: with its question mark, or empty. */
export function referrersRequest(repository: string, digest: Digest, query: string): RegistryRequest {
  const path = `/referrers/${digest}${query}`;
  return { kind: 'referrers', method: 'GET', repository, path, headers: { accept: `${OCI_INDEX}, */*` } };
}
