import { OCI_INDEX } from '../oci/media-types.ts';
import { filterReferrers } from '../oci/referrers.ts';
import type { ReferrersAnswer } from '../pull/referrers.ts';
import { cacheStatusHeader, stalenessHeaders, warning } from './cache-status.ts';
import { sendBytes, type Exchange, namespaceHeader } from './exchange.ts';

/** `GET /v2/<name>/referrers/<digest>` (OCI distribution-spec, "Listing Referrers"), of these artifact types if any. */
export function sendReferrers(
  exchange: Exchange,
  answer: ReferrersAnswer,
  artifactTypes: readonly string[],
): void {
  const { bytes, cache, stale, failure } = answer;
  const isFiltered = artifactTypes.length > 0;
  exchange.cache = cache;
  sendBytes(exchange, 200, {
    headers: {
      // To the letter: go-containerregistry takes nothing else, not even a charset.
      'Content-Type': OCI_INDEX,
      'Docker-Distribution-API-Version': 'registry/2.0',
      'Cache-Status': cacheStatusHeader(cache),
      ...(isFiltered ? { 'OCI-Filters-Applied': 'artifactType' } : {}),
      ...stalenessHeaders(stale, Date.now()),
      ...(failure === undefined
        ? {}
        : { Warning: warning(`${failure}; what refers to this manifest is not known`) }),
      ...(stale === undefined && failure === undefined ? {} : { 'Cache-Control': 'no-store' }),
      ...namespaceHeader(exchange),
    },
    body: isFiltered ? filterReferrers(bytes, artifactTypes) : bytes,
  });
}
