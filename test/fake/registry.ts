import { redirectAnswer, errorAnswer, jsonAnswer, type Answer } from './answer.ts';
import { blobAnswer } from './blob-host.ts';
import { bytesBody } from './content.ts';
import type { Library, Repository, StoredManifest } from './library.ts';
import type { LoggedRequest, RequestLog, RequestTarget } from './log.ts';
import type { PullBudget } from './pull-limit.ts';
import { Gatekeeper, type GatekeeperOptions } from './gatekeeper.ts';
import { referrersList } from './referrers-list.ts';
import { NOT_FOUND, type Site } from './site.ts';
import { tagList } from './tag-list.ts';

export interface RegistryOptions extends GatekeeperOptions {
  readonly library: Library;
  readonly log: RequestLog;
  readonly budget: PullBudget;
  /** Where a blob is to be had; undefined when the registry is to send it itself. */
  readonly blobUrl: (digest: string) => string | undefined;
}

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const ROUTE = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/;
const KINDS = { manifests: 'manifest', blobs: 'blob', tags: 'tags', referrers: 'referrers' } as const;
/** Where a registry that redirects to itself has its blobs. */
const DOWNLOADS = '/artifacts-downloads/';
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
    if (path.startsWith(DOWNLOADS)) return { kind: 'blob', reference: path.slice(DOWNLOADS.length) };
    const { frontOf } = this.#options.ways;
    const own = frontOf !== undefined && path.startsWith(frontOf) ? `/v2${path.slice(frontOf.length)}` : path;
    const [, repository, word, reference] = ROUTE.exec(own) ?? [];
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
    if (request.path.startsWith(DOWNLOADS)) return this.#download(request);
    const { frontOf } = this.#options.ways;
    if (frontOf !== undefined && request.repository !== undefined && !request.path.startsWith(frontOf)) {
      const port = request.headers.host?.split(':')[1];
      const target = `http://localhost:${port}${frontOf}${request.path.slice('/v2'.length)}?rid=${'7'.repeat(32)}`;
      return redirectAnswer(target, {});
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
    const { tags = {} } = this.#options.ways;
    return request.kind === 'blob' ? this.#blob(request, repository) : tagList(request, repository, tags);
  }

  #download({ reference = '', headers }: LoggedRequest): Answer {
    const blob = this.#options.library.findBlob(reference);
    return blob === undefined ? NOT_FOUND : blobAnswer(blob, headers.range);
  }

  #manifest(request: LoggedRequest, repository: Repository): Answer {
    const { budget, ways } = this.#options;
    const reference = ways.dashedDigests
      ? (request.reference ?? '').replace(/^sha256-/, 'sha256:')
      : (request.reference ?? '');
    const isPull = request.method === 'GET';
    if (isPull && budget.isSpent) return budget.spentAnswer();
    const manifest = repository.manifests.get(repository.tags.get(reference) ?? reference);
    if (manifest === undefined && ways.missing !== undefined) {
      return errorAnswer(ways.missing.status, ways.missing);
    }
    if (manifest === undefined) {
      const error = { code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' };
      return errorAnswer(404, error, { detail: `unknown tag=${reference}`, headers: budget.headers() });
    }
    if (!isAcceptable(manifest, request)) {
      const message = 'OCI manifest found, but accept header does not support OCI manifests';
      return errorAnswer(404, { code: 'MANIFEST_UNKNOWN', message });
    }
    if (isPull) budget.takeOne();
    if (isPull && ways.redirect?.manifests) return this.#redirect(manifest.digest, manifest.bytes.length);
    return {
      status: 200,
      headers: {
        'content-type': manifest.mediaType,
        'content-length': isPull
          ? String(manifest.bytes.length)
          : (ways.headLength ?? String(manifest.bytes.length)),
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
    const isRedirected = request.method === 'GET' || this.#options.ways.redirect?.heads === true;
    if (isRedirected && this.#options.blobUrl(blob.digest) !== undefined) {
      return this.#redirect(blob.digest, blob.size);
    }
    const answer = blobAnswer(blob, request.method === 'GET' ? request.headers.range : undefined);
    const headers = { 'docker-content-digest': blob.digest, etag: `"${blob.digest}"` };
    return { ...answer, headers: { ...answer.headers, ...headers } };
  }

  #redirect(digest: string, size: number): Answer {
    const { status = 307, toItself, falseLength } = this.#options.ways.redirect ?? {};
    const url = toItself ? `${DOWNLOADS}${digest}` : (this.#options.blobUrl(digest) ?? '');
    const answer = redirectAnswer(url, { 'docker-content-digest': digest });
    if (!falseLength) return { ...answer, status };
    // Go's server ends a connection on which less was written than was announced.
    const headers = {
      location: url,
      'docker-content-digest': digest,
      'content-length': String(size),
      connection: 'close',
    };
    return { ...answer, status, headers };
  }
}

/**
 * Docker Hub gives an OCI manifest by digest only to a client that names its type; for tags and for lists it does
 * not look at Accept (docker/hub-feedback#2391, #2410).
 */
function isAcceptable(manifest: StoredManifest, request: LoggedRequest): boolean {
  const { accept } = request.headers;
  if (manifest.mediaType !== OCI_MANIFEST || manifest.digest !== request.reference) return true;
  return accept === undefined || accept.split(/[,;\s]+/).includes(OCI_MANIFEST);
}
