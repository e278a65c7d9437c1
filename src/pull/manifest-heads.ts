import { SingleFlight } from '../lib/single-flight.ts';
import { formatImageName } from '../oci/image-name.ts';
import { SCHEMA_1, type Descriptor } from '../oci/manifest.ts';
import { isManifestType, isSchema1Type } from '../oci/media-types.ts';
import { referenceText, repositoryKey, type Reference, type Repository } from '../oci/reference.ts';
import type { ManifestStore } from '../store/manifest-store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { FleetFlight } from './fleet-flight.ts';
import type { NegativeCache } from './negative-cache.ts';
import { failureError } from './outcome-error.ts';
import { isLate, PullError } from './pull-error.ts';
import { SharedNews } from './shared-news.ts';

export interface ManifestHeadsOptions {
  readonly store: ManifestStore;
  readonly negative: NegativeCache;
  readonly fleet: FleetFlight;
  readonly now: () => number;
}

/** Asks upstream by HEAD, which is no pull, what a reference names that is not cached: once at a time per name. */
export class ManifestHeads {
  readonly #options: ManifestHeadsOptions;
  readonly #news: SharedNews;
  readonly #flights = new SingleFlight<Descriptor | undefined>(isLate);

  constructor(options: ManifestHeadsOptions) {
    this.#options = options;
    this.#news = new SharedNews(options);
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
