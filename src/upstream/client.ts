import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import { OCI_INDEX, UPSTREAM_ACCEPT } from '../oci/media-types.ts';
import { referenceText, type Reference } from '../oci/reference.ts';
import { requireStatus, type Asked } from './answer-failure.ts';
import type { Answer } from './answer.ts';
import type { Access } from './auth.ts';
import { blobSize, blobStream, partialBlobSize, refusesHead } from './blob-answer.ts';
import { Courier, type CourierOptions, type RegistryRequest } from './courier.ts';
import { descriptorOf, readManifest } from './manifest-answer.ts';
import { observedOutcome } from './observer.ts';
import { UpstreamFailure } from './outcome.ts';
import { readReferrers } from './referrers-list.ts';
import { readTagList } from './tag-list.ts';
import { TimeLimit } from './time-limit.ts';
import type {
  Allowance,
  AskOptions,
  BlobOptions,
  BlobStream,
  FetchedManifest,
  Outcome,
  ReferrersList,
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
    return this.#courier.logins.hasCredentials;
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
      await this.#requirePull(repository, reference, access);
      const { answer, asked } = await this.#send(request, access);
      await requireStatus(answer, asked, [200]).catch((error: unknown) => {
        this.#noteSpent(error, access);
        throw error;
      });
      const manifest = await readManifest(answer, access.limit);
      this.#options.onBytes?.(manifest.bytes.length);
      this.#options.bandwidth?.spend(manifest.bytes.length);
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
      const { idleTimeoutMs, onBytes, bandwidth } = this.#options;
      return blobStream(answer, { offset, expectedSize, idleTimeoutMs, onBytes, bandwidth });
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

  listReferrers(repository: string, digest: Digest, options: AskOptions): Promise<Outcome<ReferrersList>> {
    const request = referrersRequest(repository, digest, '');
    return this.#ask(request, options, (access) =>
      readReferrers(async (query) => {
        const page = await this.#send(referrersRequest(repository, digest, query), access);
        await requireStatus(page.answer, page.asked, [200]);
        return page.answer;
      }, access.limit),
    );
  }

  isReachable(): boolean {
    return this.outage() === undefined;
  }

  outage(repository?: string): string | undefined {
    return this.#courier.breakers.outage(this.#courier.needsToken(repository));
  }

  isSilent(repository?: string): boolean {
    return this.#courier.breakers.isSilent(this.#courier.needsToken(repository));
  }

  waitedInVain(since: number): void {
    this.#courier.breakers.registry.waitedInVain(since);
  }

  shortage(repository: string): string | undefined {
    return this.#courier.budgetOf({ repository, identity: 'configured' }).shortage(repository);
  }

  allowance(repository: string): Allowance | undefined {
    return this.#courier.budgetOf({ repository, identity: 'configured' }).allowance(repository);
  }

  mayPrefetch(repository: string): boolean {
    return this.shortage(repository) === undefined && this.outage(repository) === undefined;
  }

  close(): Promise<void> {
    this.#options.bandwidth?.close();
    return this.#courier.close();
  }

  /**
   * Throws UpstreamFailure while the pull limit is used up. A HEAD is free, and tells whether that still holds and
   * whether this repository counts at all, so it goes first unless that was told just now.
   */
  async #requirePull(repository: string, reference: Reference, access: Access): Promise<void> {
    const budget = this.#courier.budgetOf(access);
    if (budget.refusal(repository) === undefined) return;
    if (!budget.hasNewsOf(repository)) {
      const { answer, asked } = await this.#send(manifestRequest('HEAD', repository, reference), access);
      if (answer.status !== 405) await requireStatus(answer, asked, [200]);
    }
    const refusal = budget.refusal(repository);
    if (refusal !== undefined) throw new UpstreamFailure(refusal);
  }

  #noteSpent(error: unknown, access: Access): void {
    if (!(error instanceof UpstreamFailure)) return;
    const { failure } = error;
    if (failure.kind !== 'limited' || failure.scope !== 'pulls') return;
    this.#courier.budgetOf(access).refused(access.repository, failure.retryAfterMs);
  }

  async #send(request: RegistryRequest, access: Access): Promise<{ answer: Answer; asked: Asked }> {
    const answer = await this.#courier.send(request, access);
    const { kind, method } = request;
    const { registry, breakers } = this.#courier;
    const onAbuseLimit: Asked['onAbuseLimit'] = (limiting, waitMs) => breakers.of(limiting).limit(waitMs);
    return { answer, asked: { kind, method, registry, limit: access.limit, onAbuseLimit } };
  }

  async #ask<T>(
    request: RegistryRequest,
    options: AskOptions,
    work: (access: Access) => Promise<T>,
  ): Promise<Outcome<T>> {
    const { identity, signal } = options;
    signal?.throwIfAborted();
    const { kind, method, repository } = request;
    const refusal = this.#courier.breakers.registry.refusal();
    const limit = new TimeLimit({ ms: this.#options.headersTimeoutMs, signal });
    try {
      // Not even for a token then.
      const asked =
        refusal === undefined
          ? work({ repository, identity, limit })
          : Promise.reject<T>(new UpstreamFailure(refusal));
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

/** `query`: with its question mark, or empty. */
function referrersRequest(repository: string, digest: Digest, query: string): RegistryRequest {
  const path = `/referrers/${digest}${query}`;
  return { kind: 'referrers', method: 'GET', repository, path, headers: { accept: `${OCI_INDEX}, */*` } };
}
