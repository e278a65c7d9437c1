import { LRUCache } from 'lru-cache';
import type { Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { referenceText, type Reference } from '../../oci/reference.ts';
import { isTagForDigest } from '../../oci/referrers.ts';
import type { TagPage } from '../../oci/tag-page.ts';
import type { Access } from '../auth/auth.ts';
import type { Answer } from '../connect/answer.ts';
import { TimeLimit } from '../connect/time-limit.ts';
import {
  UpstreamFailure,
  type Allowance,
  type AskOptions,
  type BlobOptions,
  type BlobStream,
  type ContentSize,
  type FetchedManifest,
  type Outcome,
  type ReferrersList,
  type TagList,
  type Upstream,
  toldOutcome,
} from '../upstream.ts';
import {
  descriptorOf,
  readManifest,
  isNoList,
  noReferrersApi,
  readReferrers,
  requireReferrersApi,
  readTagList,
  smallerPage,
} from './answers.ts';
import { blobStream, partialBlobSize, refusesHead, refusesRange, sizeOf } from './blob.ts';
import { requireStatus, type Asked } from './failure.ts';
import { ManifestHeadTrust } from './head-trust.ts';
import {
  Session,
  type UpstreamOptions,
  type RegistryRequest,
  blobRequest,
  manifestRequest,
  referrersRequest,
  tagsRequest,
} from './session.ts';

export type { UpstreamOptions } from './session.ts';

/** A client of the registry at `url`. Connects later. Throws CertificateFileError if `ca` is unusable. */
export function createUpstream(options: UpstreamOptions): Upstream {
  return new RegistryClient(options);
}

class RegistryClient implements Upstream {
  readonly #options: UpstreamOptions;
  readonly #session: Session;
  readonly #heads: ManifestHeadTrust;
  /** Manifests that GET found after HEAD did not: a second GET would be a second pull. */
  readonly #found = new LRUCache<string, FetchedManifest>({
    maxSize: MAX_FOUND_BYTES,
    sizeCalculation: ({ bytes }) => bytes.length + 1,
    ttl: FOUND_FOR_MS,
  });

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#session = new Session(options);
    this.#heads = new ManifestHeadTrust(options.now ?? Date.now);
  }

  get host(): string {
    return this.#options.host;
  }

  get hasCredentials(): boolean {
    return this.#session.logins.hasCredentials;
  }

  headManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<Descriptor | undefined>> {
    const request = manifestRequest('HEAD', repository, reference);
    return this.#ask(request, options, async (access) => {
      const sent = await this.#sendHead(request, reference, access);
      return sent === undefined ? undefined : descriptorOf(sent.headers);
    });
  }

  confirmManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<ContentSize>> {
    const request = manifestRequest('HEAD', repository, reference);
    return this.#ask(request, options, async (access) => {
      const head = await this.#sendHead(request, reference, access);
      if (head !== undefined) return sizeOf(head);
      const { bytes } = this.#found.get(foundKey(reference, access)) ?? (await this.#get(reference, access));
      return { size: bytes.length };
    });
  }

  getManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<FetchedManifest>> {
    const request = manifestRequest('GET', repository, reference);
    return this.#ask(request, options, async (access) => {
      const found = this.#found.get(foundKey(reference, access));
      this.#found.delete(foundKey(reference, access));
      return found ?? this.#get(reference, access);
    });
  }

  headBlob(repository: string, digest: Digest, options: AskOptions): Promise<Outcome<ContentSize>> {
    const request = blobRequest('HEAD', { repository, digest });
    return this.#ask(request, options, async (access) => {
      const { answer, asked } = await this.#send(request, access);
      if (!refusesHead(answer, this.#session.registry)) {
        await requireStatus(answer, asked, [200]);
        return sizeOf(answer);
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
      let sent = await this.#send(request, access);
      if (!isWhole && refusesRange(sent.answer)) {
        await sent.answer.body.discard();
        sent = await this.#send(blobRequest('GET', { repository, digest }), access);
      }
      const { answer, asked } = sent;
      await requireStatus(answer, asked, [200, 206]);
      const { idleTimeoutMs, tell, bandwidth } = this.#options;
      const onBytes = (bytes: number): void => tell('upstreamBytes', { upstream: this.host, bytes });
      return blobStream(answer, { offset, expectedSize, idleTimeoutMs, onBytes, bandwidth });
    });
  }

  listTags(repository: string, page: TagPage, options: AskOptions): Promise<Outcome<TagList>> {
    return this.#ask(tagsRequest(repository, page), options, async (access) => {
      let sent = await this.#send(tagsRequest(repository, page), access);
      const smaller = smallerPage(page, sent.answer);
      if (smaller !== undefined) {
        await sent.answer.body.discard();
        sent = await this.#send(tagsRequest(repository, smaller), access);
      }
      await requireStatus(sent.answer, sent.asked, [200]);
      return readTagList(sent.answer, access.limit);
    });
  }

  listReferrers(repository: string, digest: Digest, options: AskOptions): Promise<Outcome<ReferrersList>> {
    const request = referrersRequest(repository, digest, '');
    return this.#ask(request, options, async (access) => {
      const pages = async (query: string): Promise<Answer> => {
        const page = await this.#send(referrersRequest(repository, digest, query), access);
        await requireReferrersApi(page.answer, digest);
        await requireStatus(page.answer, page.asked, [200]);
        return page.answer;
      };
      try {
        return await readReferrers(pages, access.limit);
      } catch (error) {
        if (isNoList(error) && (await this.#session.isRegistry(access))) throw noReferrersApi(error);
        throw error;
      }
    });
  }

  isReachable(): boolean {
    return this.outage() === undefined;
  }

  outage(repository?: string): string | undefined {
    return this.#session.breakers.outage(this.#session.needsToken(repository));
  }

  isSlow(repository?: string): boolean {
    return this.#session.breakers.isSlow(this.#session.needsToken(repository));
  }

  reportSlow(since: number): void {
    this.#session.breakers.registry.reportSlow(since);
  }

  shortage(repository: string): string | undefined {
    return this.#session.pullLimitOf({ repository, identity: 'configured' }).shortage(repository);
  }

  allowance(repository: string): Allowance | undefined {
    return this.#session.pullLimitOf({ repository, identity: 'configured' }).allowance(repository);
  }

  mayPrefetch(repository: string): boolean {
    return this.shortage(repository) === undefined && this.outage(repository) === undefined;
  }

  close(): Promise<void> {
    this.#options.bandwidth?.close();
    return this.#session.close();
  }

  /** GET, which is a pull. Throws UpstreamFailure. */
  async #get(reference: Reference, access: Access): Promise<FetchedManifest> {
    const { repository } = access;
    await this.#requirePull(repository, reference, access);
    const { answer, asked } = await this.#send(manifestRequest('GET', repository, reference), access);
    this.#heads.got(repository, referenceText(reference), answer.status);
    await requireStatus(answer, asked, [200]).catch((error: unknown) => {
      this.#noteSpent(error, access);
      throw error;
    });
    const manifest = await readManifest(answer, access.limit);
    this.#options.tell('upstreamBytes', { upstream: this.host, bytes: manifest.bytes.length });
    this.#options.bandwidth?.spend(manifest.bytes.length);
    return manifest;
  }

  /**
   * Throws UpstreamFailure while the pull limit is used up. Sends a HEAD first unless news is recent: it is free, and
   * shows whether the limit still holds and whether this repository counts.
   */
  async #requirePull(repository: string, reference: Reference, access: Access): Promise<void> {
    const pullLimit = this.#session.pullLimitOf(access);
    if (pullLimit.refusal(repository) === undefined) return;
    if (!pullLimit.hasNewsOf(repository)) {
      await this.#sendHead(manifestRequest('HEAD', repository, reference), reference, access);
    }
    const refusal = pullLimit.refusal(repository);
    if (refusal !== undefined) throw new UpstreamFailure(refusal);
  }

  /**
   * A 200 response to the HEAD of a manifest; undefined: HEADs of this registry say nothing. Throws UpstreamFailure.
   */
  async #sendHead(
    request: RegistryRequest,
    reference: Reference,
    access: Access,
  ): Promise<Answer | undefined> {
    const { repository } = request;
    if (this.#heads.isRefused(repository)) return undefined;
    const { answer, asked } = await this.#send(request, access);
    const saysNothing = this.#heads.saysNothing(repository, referenceText(reference), answer.status);
    // Nearly all images lack such a tag, and each image is asked for it. A registry with wrong 404s fails for the
    // image too.
    if (!saysNothing || (answer.status === 404 && isTagForDigest(referenceText(reference)))) {
      await requireStatus(answer, asked, [200]);
      return answer;
    }
    await answer.body.discard();
    // Most 404s are true, and a GET that finds nothing is no pull. A manifest that the GET finds is kept for the next
    // caller.
    const isWorthAsking =
      answer.status === 404 && this.#session.pullLimitOf(access).refusal(repository) === undefined;
    if (isWorthAsking) this.#found.set(foundKey(reference, access), await this.#get(reference, access));
    return undefined;
  }

  #noteSpent(error: unknown, access: Access): void {
    if (!(error instanceof UpstreamFailure)) return;
    const { failure } = error;
    if (failure.kind !== 'limited' || failure.scope !== 'pulls') return;
    this.#session.pullLimitOf(access).refused(access.repository, failure.retryAfterMs);
  }

  async #send(request: RegistryRequest, access: Access): Promise<{ answer: Answer; asked: Asked }> {
    const answer = await this.#session.send(request, access);
    const { kind, method } = request;
    const { registry, breakers } = this.#session;
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
    const refusal = this.#session.breakers.registry.refusal();
    const limit = new TimeLimit({ ms: this.#options.headersTimeoutMs, signal });
    try {
      // While the breaker refuses, no token is fetched either.
      const asked =
        refusal === undefined
          ? work({ repository, identity, limit })
          : Promise.reject<T>(new UpstreamFailure(refusal));
      return await toldOutcome(this.#options.tell, { upstream: this.host, kind, method }, asked);
    } finally {
      limit.end();
    }
  }
}

const MAX_FOUND_BYTES = 8 * 1024 * 1024;
const FOUND_FOR_MS = 10_000;

function foundKey(reference: Reference, { repository, identity }: Access): string {
  return `${identity} ${repository}@${referenceText(reference)}`;
}
