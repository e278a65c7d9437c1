import { redirectAnswer, errorAnswer, jsonAnswer, type Answer } from './answer.ts';
import { blobAnswer } from './blob-host.ts';
import { bytesBody } from './content.ts';
import type { Library, Repository, StoredManifest } from './library.ts';
import type { LoggedRequest, RequestLog, RequestTarget } from './log.ts';
import type { PullBudget } from './pull-limit.ts';
import { Gatekeeper, type GatekeeperOptions } from './gatekeeper.ts';
import { NOT_FOUND, type Site } from './site.ts';

export interface RegistryOptions extends GatekeeperOptions {
  readonly library: Library;
  readonly log: RequestLog;
  readonly budget: PullBudget;
  /** Where a blob is to be had; undefined when the registry is to send it itself. */
  readonly blobUrl: (digest: string) => string | undefined;
}

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const ROUTE = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/;
const KINDS = { manifests: 'manifest', blobs: 'blob', tags: 'tags', referrers: 'referrers' } as const;
const VERSION = { 'docker-distribution-api-version': 'registry/2.0' };
const NO_REPOSITORY = { code: 'NAME_UNKNOWN', message: 'repository name not known to registry' };

/** The registry: what registry-1.docker.io does on the pull endpoints of the distribution-spec. */
export class Registry implements Site {
  readonly host = 'registry';
  readonly #options: RegistryOptions;
  readonly #gatekeeper: Gatekeeper;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#gatekeeper = new Gatekeeper(options);
  }

  target(path: string): RequestTarget {
    if (path === '/v2/' || path === '/v2') return { kind: 'ping' };
    const [, repository, word, reference] = ROUTE.exec(path) ?? [];
    if (repository === undefined || word === undefined || reference === undefined) return { kind: 'other' };
    return {
      kind: KINDS[word as keyof typeof KINDS],
      repository,
      reference: reference.replace(/%3a/gi, ':'),
    };
  }

  answer(request: LoggedRequest): Answer {
    const { library, log } = this.#options;
    if (request.query.has('ns')) {
      log.violations.push({ reason: 'ns sent to the registry itself', request });
    }
    const refusal = this.#gatekeeper.refusal(request);
    const answer = refusal ?? this.#route(request, library.find(request.repository ?? ''));
    return { ...answer, headers: { ...VERSION, ...answer.headers } };
  }

  #route(request: LoggedRequest, repository: Repository | undefined): Answer {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return errorAnswer(405, { code: 'UNSUPPORTED', message: 'the operation is unsupported' });
    }
    if (request.kind === 'ping') return jsonAnswer(200, {});
    if (request.kind === 'other') return NOT_FOUND;
    if (repository === undefined) return errorAnswer(404, NO_REPOSITORY);
    if (request.kind === 'referrers') return referrersList(request, repository);
    if (request.kind === 'manifest') return this.#manifest(request, repository);
    return request.kind === 'blob' ? this.#blob(request, repository) : tagList(request, repository);
  }

  #manifest(request: LoggedRequest, repository: Repository): Answer {
    const reference = request.reference ?? '';
    const { budget } = this.#options;
    const isPull = request.method === 'GET';
    if (isPull && budget.isSpent) return budget.spentAnswer();
    const manifest = repository.manifests.get(repository.tags.get(reference) ?? reference);
    if (manifest === undefined) {
      const error = { code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' };
      return errorAnswer(404, error, { detail: `unknown tag=${reference}`, headers: budget.headers() });
    }
    if (!isAcceptable(manifest, request)) {
      const message = 'OCI manifest found, but accept header does not support OCI manifests';
      return errorAnswer(404, { code: 'MANIFEST_UNKNOWN', message });
    }
    if (isPull) budget.takeOne();
    return {
      status: 200,
      headers: {
        'content-type': manifest.mediaType,
        'content-length': String(manifest.bytes.length),
        'docker-content-digest': manifest.digest,
        etag: `"${manifest.digest}"`,
        ...budget.headers(),
      },
      body: bytesBody(manifest.bytes),
    };
  }

  #blob(request: LoggedRequest, repository: Repository): Answer {
    const blob = repository.blobs.get(request.reference ?? '');
    if (blob === undefined) {
      return errorAnswer(404, { code: 'BLOB_UNKNOWN', message: 'blob unknown to registry' });
    }
    const url = request.method === 'GET' ? this.#options.blobUrl(blob.digest) : undefined;
    if (url !== undefined) return redirectAnswer(url, { 'docker-content-digest': blob.digest });
    const answer = blobAnswer(blob, request.method === 'GET' ? request.headers.range : undefined);
    const headers = { 'docker-content-digest': blob.digest, etag: `"${blob.digest}"` };
    return { ...answer, headers: { ...answer.headers, ...headers } };
  }
}

/**
 * Docker Hub gives an OCI manifest by digest only to a client that names its type; for tags and for lists it does
 * not look at Accept (docker/hub-feedback issues 2391 and 2410).
 */
function isAcceptable(manifest: StoredManifest, request: LoggedRequest): boolean {
  const { accept } = request.headers;
  if (manifest.mediaType !== OCI_MANIFEST || manifest.digest !== request.reference) return true;
  return accept === undefined || accept.split(/[,;\s]+/).includes(OCI_MANIFEST);
}

function tagList(request: LoggedRequest, repository: Repository): Answer {
  const size = request.query.has('n') ? Number(request.query.get('n')) : Infinity;
  const last = request.query.get('last') ?? '';
  const rest = [...repository.tags.keys()].sort().filter((tag) => tag > last);
  const tags = rest.slice(0, size);
  const final = tags.at(-1);
  const link =
    final === undefined || tags.length === rest.length
      ? {}
      : { link: `</v2/${request.repository}/tags/list?last=${final}&n=${size}>; rel="next"` };
  return jsonAnswer(200, { name: request.repository, tags }, link);
}

const REFERRERS_PAGE = 3;

/** OCI distribution-spec, "Listing Referrers"; a page holds three, as if registries were that small. */
function referrersList(request: LoggedRequest, repository: Repository): Answer {
  if (repository.referrers === undefined) return NOT_FOUND;
  const all = repository.referrers.get(request.reference ?? '') ?? [];
  const from = Number(request.query.get('from') ?? 0);
  const manifests = all.slice(from, from + REFERRERS_PAGE);
  const next = from + REFERRERS_PAGE;
  const link = next < all.length ? { link: `<${request.path}?from=${next}>; rel="next"` } : {};
  const answer = jsonAnswer(200, { schemaVersion: 2, mediaType: OCI_INDEX, manifests }, link);
  return { ...answer, headers: { ...answer.headers, 'content-type': OCI_INDEX } };
}
