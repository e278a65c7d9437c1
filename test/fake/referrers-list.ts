import { jsonAnswer, type Answer } from './answer.ts';
import type { Repository } from './library.ts';
import type { LoggedRequest } from './log.ts';
import { NOT_FOUND } from './site.ts';

const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const REFERRERS_PAGE = 3;

/** OCI distribution-spec, "Listing Referrers"; a page holds three, as if registries were that small. */
export function referrersList(request: LoggedRequest, repository: Repository): Answer {
  if (repository.referrers === undefined) return NOT_FOUND;
  const all = repository.referrers.get(request.reference ?? '') ?? [];
  const from = Number(request.query.get('from') ?? 0);
  const manifests = all.slice(from, from + REFERRERS_PAGE);
  const next = from + REFERRERS_PAGE;
  const link = next < all.length ? { link: `<${request.path}?from=${next}>; rel="next"` } : {};
  const answer = jsonAnswer(200, { schemaVersion: 2, mediaType: OCI_INDEX, manifests }, link);
  return { ...answer, headers: { ...answer.headers, 'content-type': OCI_INDEX } };
}
