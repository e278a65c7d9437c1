import { SingleFlight } from '../../lib/single-flight.ts';
import { digestMatches, digestOf, type Digest } from '../../oci/digest.ts';
import { formatImageName } from '../../oci/image-name.ts';
import {
  ManifestInvalidError,
  manifestOf,
  parseManifest,
  SCHEMA_1,
  type Descriptor,
  type Manifest,
} from '../../oci/manifest.ts';
import { isManifestType, isSchema1Type } from '../../oci/media-types.ts';
import { referenceText, repositoryKey, type Reference, type Repository } from '../../oci/reference.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import type { FetchedManifest, Upstream } from '../../upstream/upstream.ts';
import type { RepositoryAccess } from '../access/access.ts';
import { linksOf } from '../access/links.ts';
import { failureError, isLate, PullError } from '../answer/errors.ts';
import type { NegativeCache } from '../answer/negative-cache.ts';
import { type FleetSingleFlight, FleetLookup, type News } from './fleet.ts';

export interface ManifestFetcherOptions {
  readonly store: ManifestStore;
  readonly access: RepositoryAccess;
  readonly negative: NegativeCache;
  readonly fleet: FleetSingleFlight;
  readonly now: () => number;
}

/**
 * Gets manifests from upstream and keeps them, once verified: one GET at a time per name, shared by all who wait, here
 * and at the other servers of the fleet.
 */
export class ManifestFetcher {
  readonly #options: ManifestFetcherOptions;
  readonly #news: FleetLookup;
  readonly #flights = new SingleFlight<Manifest>(isLate);

  constructor(options: ManifestFetcherOptions) {
    this.#options = options;
    this.#news = new FleetLookup(options);
  }

  /** Resolves once the manifest, its links and the tag that names it are stored. Throws PullError. */
  fetch(
    upstream: Upstream,
    repository: Repository,
    reference: Reference,
  ): { readonly promise: Promise<Manifest>; readonly joined: boolean } {
    const key = `${repositoryKey(repository)}@${referenceText(reference)}`;
    return this.#flights.run(key, () => {
      const find = this.#news.watch(repository, reference);
      return this.#options.fleet.run(`get:${key}`, {
        find: async () => this.#found(upstream, repository, await find()),
        work: () => this.#get(upstream, repository, reference),
      });
    });
  }

  async #get(upstream: Upstream, repository: Repository, reference: Reference): Promise<Manifest> {
    const { store, access, negative, now } = this.#options;
    const name = formatImageName({ repository, reference });
    const outcome = await upstream.getManifest(repository.name, reference, { identity: 'configured' });
    if (outcome.kind !== 'ok') {
      if (outcome.kind === 'not-found' && !outcome.noStore) {
        negative.remember(repository, referenceText(reference));
      }
      throw failureError(outcome, { what: name, host: repository.host, absent: 'manifest-unknown' });
    }
    const expected = reference.kind === 'digest' ? reference.digest : outcome.value.digest;
    const { manifest, links } = verified(outcome.value, expected, { name, host: repository.host });
    await store.putManifest(manifest);
    await store.putLinks(repository, links);
    if (reference.kind === 'tag') {
      const { descriptor } = manifest;
      await store.putTag(repository, reference.tag, { descriptor, checkedAt: now(), confirmedAt: now() });
    }
    if (!upstream.hasCredentials) await access.confirmPublic(repository);
    negative.forget(repository, referenceText(reference));
    return manifest;
  }

  /**
   * What another server has fetched, if the repository holds it. Where that is not known, upstream is asked by HEAD, which
   * is no pull: whoever can write to the shared store could name what is of another repository.
   */
  async #found(
    upstream: Upstream,
    repository: Repository,
    news: News | undefined,
  ): Promise<Manifest | undefined> {
    const manifest = news?.manifest;
    if (news === undefined || manifest === undefined) return undefined;
    const { digest, mediaType } = manifest.descriptor;
    if (!news.isProven) {
      const reference = { kind: 'digest', digest } as const;
      const outcome = await upstream.headManifest(repository.name, reference, { identity: 'configured' });
      if (outcome.kind !== 'ok') return undefined;
    }
    await this.#options.store.putLinks(
      repository,
      verified({ mediaType, bytes: manifest.bytes }, digest, { name: digest, host: repository.host }).links,
    );
    return manifest;
  }
}

function verified(
  fetched: FetchedManifest,
  expected: Digest | undefined,
  { name, host }: { readonly name: string; readonly host: string },
) {
  const { bytes } = fetched;
  if (expected !== undefined && !digestMatches(expected, bytes)) {
    throw new PullError(
      'unavailable',
      `${host} sent something else than ${name}: its bytes are not ${expected}`,
    );
  }
  const digest = expected ?? digestOf(bytes);
  try {
    const { mediaType, content } = parseManifest(bytes, fetched.mediaType);
    const links = linksOf(content).set(digest, { by: 'upstream', size: bytes.length });
    return { manifest: manifestOf({ digest, mediaType, bytes }), links };
  } catch (cause) {
    if (!(cause instanceof ManifestInvalidError)) throw cause;
    // What has the digest that it was sent as is what upstream has, and will never be anything else; what nobody names can
    // be the answer of somebody in a registry's place.
    const isForGood = cause.code === 'schema-1' || expected !== undefined;
    const code = isForGood ? 'platform-unknown' : 'unavailable';
    throw new PullError(code, `${name}: ${cause.message}`, { cause });
  }
}

export interface ManifestHeadsOptions {
  readonly store: ManifestStore;
  readonly negative: NegativeCache;
  readonly fleet: FleetSingleFlight;
  readonly now: () => number;
}

/** Asks upstream by HEAD, which is no pull, what a reference names that is not cached: once at a time per name. */
export class ManifestHeads {
  readonly #options: ManifestHeadsOptions;
  readonly #news: FleetLookup;
  readonly #flights = new SingleFlight<Descriptor | undefined>(isLate);

  constructor(options: ManifestHeadsOptions) {
    this.#options = options;
    this.#news = new FleetLookup(options);
  }

  /** Undefined if upstream's HEAD does not tell what it names. What a tag names is remembered. Throws PullError. */
  head(upstream: Upstream, repository: Repository, reference: Reference): Promise<Descriptor | undefined> {
    const key = `${repositoryKey(repository)}@${referenceText(reference)}`;
    return this.#flights.run(key, () => {
      const find = this.#news.watch(repository, reference);
      return this.#options.fleet.run(`head:${key}`, {
        find: async () => {
          const news = await find();
          return news?.isProven === true || reference.kind === 'tag' ? news?.descriptor : undefined;
        },
        work: () => this.#ask(upstream, repository, reference),
      });
    }).promise;
  }

  async #ask(
    upstream: Upstream,
    repository: Repository,
    reference: Reference,
  ): Promise<Descriptor | undefined> {
    const { store, negative, now } = this.#options;
    const outcome = await upstream.headManifest(repository.name, reference, { identity: 'configured' });
    if (outcome.kind !== 'ok') {
      if (outcome.kind === 'not-found' && !outcome.noStore)
        negative.remember(repository, referenceText(reference));
      const what = formatImageName({ repository, reference });
      throw failureError(outcome, { what, host: repository.host, absent: 'manifest-unknown' });
    }
    const descriptor = outcome.value;
    // What a GET would say.
    if (descriptor !== undefined && isSchema1Type(descriptor.mediaType)) {
      const name = formatImageName({ repository, reference });
      throw new PullError('platform-unknown', `${name}: ${SCHEMA_1}`);
    }
    if (descriptor === undefined || !isManifestType(descriptor.mediaType)) return undefined;
    if (reference.kind === 'tag') {
      const at = now();
      await store.putTag(repository, reference.tag, { descriptor, checkedAt: at, confirmedAt: at });
    }
    return descriptor;
  }
}
