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
import { type FleetSingleFlight, FleetLookup, type FleetAnswer } from './fleet.ts';

export interface ManifestFetcherOptions {
  readonly store: ManifestStore;
  readonly access: RepositoryAccess;
  readonly negative: NegativeCache;
  readonly fleet: FleetSingleFlight;
  readonly now: () => number;
}

/**
 * Fetches manifests from upstream, verifies and stores them. All requests for the same image share one GET, also those
 * of other servers in the fleet.
 */
export class ManifestFetcher {
  readonly #options: ManifestFetcherOptions;
  readonly #lookup: FleetLookup;
  readonly #flights = new SingleFlight<Manifest>(isLate);

  constructor(options: ManifestFetcherOptions) {
    this.#options = options;
    this.#lookup = new FleetLookup(options);
  }

  /** Resolves once the manifest, its links and its tag are stored. Throws PullError. */
  fetch(
    upstream: Upstream,
    repository: Repository,
    reference: Reference,
  ): { readonly promise: Promise<Manifest>; readonly joined: boolean } {
    const key = `${repositoryKey(repository)}@${referenceText(reference)}`;
    return this.#flights.run(key, () => {
      const find = this.#lookup.finder(repository, reference);
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
   * The manifest from another server, if the repository holds it. Without a proof, a HEAD asks upstream, which is not a
   * pull: a forged tag in Redis could name a manifest of another repository.
   */
  async #found(
    upstream: Upstream,
    repository: Repository,
    answer: FleetAnswer | undefined,
  ): Promise<Manifest | undefined> {
    const manifest = answer?.manifest;
    if (answer === undefined || manifest === undefined) return undefined;
    const { digest, mediaType } = manifest.descriptor;
    if (!answer.isProven) {
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
    throw new PullError('unavailable', `${host} sent wrong bytes for ${name}: they are not ${expected}`);
  }
  const digest = expected ?? digestOf(bytes);
  try {
    const { mediaType, content } = parseManifest(bytes, fetched.mediaType);
    const links = linksOf(content).set(digest, { by: 'upstream', size: bytes.length, withBlobs: true });
    return { manifest: manifestOf({ digest, mediaType, bytes }), links };
  } catch (cause) {
    if (!(cause instanceof ManifestInvalidError)) throw cause;
    // Bytes with the right digest will never change. Bytes without one may come from a proxy in place of the registry.
    const isFinal = cause.code === 'schema-1' || expected !== undefined;
    const code = isFinal ? 'platform-unknown' : 'unavailable';
    throw new PullError(code, `${name}: ${cause.message}`, { cause });
  }
}

type ManifestHeadsOptions = Omit<ManifestFetcherOptions, 'access'>;

/** Sends HEADs for images that are not cached; a HEAD is not a pull. Requests for the same image share one HEAD. */
export class ManifestHeads {
  readonly #options: ManifestHeadsOptions;
  readonly #lookup: FleetLookup;
  readonly #flights = new SingleFlight<Descriptor | undefined>(isLate);

  constructor(options: ManifestHeadsOptions) {
    this.#options = options;
    this.#lookup = new FleetLookup(options);
  }

  /** The descriptor of the image; a tag is stored. Undefined if the HEAD's headers lack it. Throws PullError. */
  head(upstream: Upstream, repository: Repository, reference: Reference): Promise<Descriptor | undefined> {
    const key = `${repositoryKey(repository)}@${referenceText(reference)}`;
    return this.#flights.run(key, () => {
      const find = this.#lookup.finder(repository, reference);
      return this.#options.fleet.run(`head:${key}`, {
        find: async () => {
          const answer = await find();
          return answer?.isProven === true || reference.kind === 'tag' ? answer?.descriptor : undefined;
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
    // The same error as for a GET.
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
