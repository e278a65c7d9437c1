import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import { UPSTREAM_ACCEPT } from '../oci/media-types.ts';
import { referenceText, type Reference } from '../oci/reference.ts';
import { requireStatus, type Asked } from './answer-failure.ts';
import type { Answer } from './answer.ts';
import type { Access } from './auth.ts';
import { blobSize, blobStream, partialBlobSize, refusesHead } from './blob-answer.ts';
import { Courier, type CourierOptions, type RegistryRequest } from './courier.ts';
import { descriptorOf, readManifest } from './manifest-answer.ts';
import { observedOutcome } from './observer.ts';
import { readTagList } from './tag-list.ts';
import { TimeLimit } from './time-limit.ts';
import type {
  AskOptions,
  BlobOptions,
  BlobStream,
  FetchedManifest,
  Outcome,
  TagList,
  Upstream,
} from './upstream.ts';

export type UpstreamOptions = CourierOptions;

/** A client of the registry at `url`; nothing is dialled yet. Throws CertificateFileError if `ca` cannot be used. */
export function createUpstream(options: UpstreamOptions): Upstream {
  return new RegistryClient(options);
}

class RegistryClient implements Upstream {
  readonly #options: UpstreamOptions;
  readonly #courier: Courier;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#courier = new Courier(options);
  }

  get host(): string {
    return this.#options.host;
  }

  get hasCredentials(): boolean {
    return this.#options.credentials !== undefined;
  }

  headManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<Descriptor | undefined>> {
    const request = manifestRequest('HEAD', repository, reference);
    return this.#ask(request, options, async (access) => {
      const { answer, asked } = await this.#send(request, access);
      // Some registries know no HEAD for manifests, which says nothing about this one.
      if (answer.status === 405) return undefined;
      await requireStatus(answer, asked, [200]);
      return descriptorOf(answer.headers);
    });
  }

  getManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<FetchedManifest>> {
    const request = manifestRequest('GET', repository, reference);
    return this.#ask(request, options, async (access) => {
      const { answer, asked } = await this.#send(request, access);
      await requireStatus(answer, asked, [200]);
      const manifest = await readManifest(answer, access.limit);
      this.#options.onBytes?.(manifest.bytes.length);
      return manifest;
    });
  }

  headBlob(
    repository: string,
    digest: Digest,
    options: AskOptions,
  ): Promise<Outcome<{ readonly size?: number }>> {
    const request = blobRequest('HEAD', { repository, digest });
    return this.#ask(request, options, async (access) => {
      const { answer, asked } = await this.#send(request, access);
      if (!refusesHead(answer, this.#courier.registry)) {
        await requireStatus(answer, asked, [200]);
        return blobSize(answer);
      }
      await answer.body.discard();
      const byRange = await this.#send(
        blobRequest('GET', { repository, digest, range: 'bytes=0-0' }),
        access,
      );
      await requireStatus(byRange.answer, byRange.asked, [200, 206, 416]);
      return partialBlobSize(byRange.answer);
    });
  }

  getBlob(repository: string, digest: Digest, options: BlobOptions): Promise<Outcome<BlobStream>> {
    const { offset, end, expectedSize } = options;
    const isWhole = offset === 0 && end === undefined;
    const range = isWhole ? {} : { range: `bytes=${offset}-${end === undefined ? '' : end - 1}` };
    const request = blobRequest('GET', { repository, digest, ...range });
    return this.#ask(request, options, async (access) => {
      const { answer, asked } = await this.#send(request, access);
      await requireStatus(answer, asked, [200, 206]);
      const { idleTimeoutMs, onBytes } = this.#options;
      return blobStream(answer, { offset, expectedSize, idleTimeoutMs, onBytes });
    });
  }

  listTags(
    repository: string,
    query: { readonly n?: string; readonly last?: string },
    options: AskOptions,
  ): Promise<Outcome<TagList>> {
    const text = new URLSearchParams({ ...query }).toString();
    const request: RegistryRequest = {
      kind: 'tags',
      method: 'GET',
      repository,
      path: `/tags/list${text === '' ? '' : `?${text}`}`,
      headers: { accept: 'application/json' },
    };
    return this.#ask(request, options, async (access) => {
      const { answer, asked } = await this.#send(request, access);
      await requireStatus(answer, asked, [200]);
      return readTagList(answer, access.limit);
    });
  }

  close(): Promise<void> {
    return this.#courier.close();
  }

  async #send(request: RegistryRequest, access: Access): Promise<{ answer: Answer; asked: Asked }> {
    const answer = await this.#courier.send(request, access);
    const { kind, method } = request;
    return { answer, asked: { kind, method, registry: this.#courier.registry, limit: access.limit } };
  }

  async #ask<T>(
    request: RegistryRequest,
    options: AskOptions,
    work: (access: Access) => Promise<T>,
  ): Promise<Outcome<T>> {
    const { identity, signal } = options;
    signal?.throwIfAborted();
    const { kind, method, repository } = request;
    const limit = new TimeLimit({ ms: this.#options.headersTimeoutMs, signal });
    try {
      const asked = work({ repository, identity, limit });
      return await observedOutcome(this.#options, { host: this.host, kind, method }, asked);
    } finally {
      limit.end();
    }
  }
}

function manifestRequest(method: 'GET' | 'HEAD', repository: string, reference: Reference): RegistryRequest {
  const path = `/manifests/${referenceText(reference)}`;
  return { kind: 'manifest', method, repository, path, headers: { accept: UPSTREAM_ACCEPT } };
}

function blobRequest(
  method: 'GET' | 'HEAD',
  target: { readonly repository: string; readonly digest: Digest; readonly range?: string },
): RegistryRequest {
  const { repository, digest, range } = target;
  const headers = { accept: '*/*', ...(range === undefined ? {} : { range }) };
  return { kind: 'blob', method, repository, path: `/blobs/${digest}`, headers };
}
