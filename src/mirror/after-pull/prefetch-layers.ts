import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/caches.ts';
import type { Digest } from '../../oci/digest.ts';
import { type Repository, repositoryKey } from '../../oci/reference.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { BlobPuller, AskedBlob } from '../blob/blobs.ts';

/** A manifest that went out, and what came of it. */
export interface LayerOffer {
  readonly client: string;
  readonly repository: string;
  readonly manifest: Digest;
  /** From the bottom up, the order in which clients ask for them. */
  readonly layers: readonly Digest[];
  readonly asked: Set<Digest>;
}

const MAX_CLIENTS = 2000;
const MAX_ONLOOKERS = 2000;
/** Of one client: as many images as it pulls at a time. */
const MAX_OFFERS_PER_CLIENT = 8;
/** Of all offers together, in layers. */
const MAX_OFFERED = 100_000;
const MAX_PASSED_OVER = 50_000;

/**
 * Which layers clients ask for once they have a manifest, and which not: these they have. What is learnt is good for
 * guesses only, since several clients can share an address.
 */
export class LayerHabits {
  readonly #offers = new LRUCache<string, LayerOffer[]>({
    max: MAX_CLIENTS,
    maxSize: MAX_OFFERED,
    sizeCalculation: (offers) => offers.reduce((sum, { layers }) => sum + 1 + layers.length, 0),
  });
  /** By client and repository: it was given a manifest and asked for no layer, as who only looks for a new version. */
  readonly #onlookers = new LRUCache<string, true>({ max: MAX_ONLOOKERS });
  readonly #passedOver = new LRUCache<Digest, true>(atMost(MAX_PASSED_OVER));

  /** Whether a client had this layer when it was last offered to one: it asked for one above and not for this. */
  isHad(layer: Digest): boolean {
    return this.#passedOver.has(layer);
  }

  /** Whether the client took nothing the last time that it got a manifest of the repository. */
  onlyLooks(client: string, repository: string): boolean {
    return this.#onlookers.has(`${client} ${repository}`);
  }

  /** Whether that is news: clients may well ask for a manifest twice. */
  offered(offer: Omit<LayerOffer, 'asked'>): boolean {
    const { client, repository, manifest } = offer;
    const before = this.#offers.get(client) ?? [];
    const last = before.find((each) => each.repository === repository);
    if (last?.manifest === manifest) return false;
    if (last !== undefined && last.asked.size === 0) this.#onlookers.set(`${client} ${repository}`, true);
    const others = before.filter((each) => each !== last);
    this.#offers.set(
      client,
      [{ ...offer, asked: new Set<Digest>() }, ...others].slice(0, MAX_OFFERS_PER_CLIENT),
    );
    return true;
  }

  /** The client asks for a blob. Gives the offers that it belongs to. */
  asked(client: string, layer: Digest): LayerOffer[] {
    const offers = (this.#offers.get(client) ?? []).filter(({ layers }) => layers.includes(layer));
    for (const { layers, asked, repository } of offers) {
      asked.add(layer);
      this.#onlookers.delete(`${client} ${repository}`);
      for (const below of layers.slice(0, layers.indexOf(layer))) {
        if (!asked.has(below)) this.#passedOver.set(below, true);
      }
    }
    this.#passedOver.delete(layer);
    return offers;
  }
}

/** As many as a Docker Engine and containerd ask for at a time: they are to find the next ones begun. */
const MAX_AT_ONCE = 3;
const MAX_QUEUED = 2000;
/** Four times what overlayfs can put together: more is nobody's image. */
const MAX_LAYERS = 500;

export interface LayerAheadOptions {
  readonly blobs: Pick<BlobPuller, 'prefetch'>;
  readonly mayPrefetch: (upstream: Upstream, repository: string) => boolean;
  /** Told when a layer is there, or on its way, that nobody has asked for. */
  readonly onFetched: () => void;
  /** Told of faults of this program. */
  readonly onError: (error: unknown) => void;
}

/** The layers of a manifest that goes out, from the bottom up. */
export interface OfferedLayers {
  readonly upstream: Upstream;
  readonly repository: Repository;
  readonly client: string;
  readonly manifest: Digest;
  readonly layers: readonly Digest[];
}

interface Job {
  readonly upstream: Upstream;
  readonly repository: Repository;
}

/**
 * Fills the layers of manifests before clients ask for them, in their order and a few at a time, so that what proves
 * to be needless is little. Not those that clients evidently have: a client asks from the bottom up for what it lacks,
 * so the layers below the first one that it asks for are on its disk; and who has got manifests of a repository without
 * asking for any layer gets none begun before it asks for one.
 */
export class LayerAhead {
  readonly #options: LayerAheadOptions;
  readonly #habits = new LayerHabits();
  readonly #queue = new Map<Digest, Job>();
  #running = 0;
  #isBeginning = false;
  #isClosed = false;

  constructor(options: LayerAheadOptions) {
    this.#options = options;
  }

  /** A manifest goes out. */
  offer(offered: OfferedLayers): void {
    const { client, manifest, layers } = offered;
    if (layers.length > MAX_LAYERS) return;
    const repository = repositoryKey(offered.repository);
    const isNew = this.#habits.offered({ client, repository, manifest, layers });
    if (isNew && !this.#habits.onlyLooks(client, repository)) this.#enqueue(offered, layers);
  }

  /** A client asks for a blob: what it passed over is not begun, what lies above may be. */
  asked({ upstream, repository, client, digest }: AskedBlob): void {
    for (const { layers, asked } of this.#habits.asked(client, digest)) {
      const above = layers.slice(layers.indexOf(digest) + 1);
      if (asked.size === 1) this.#enqueue({ upstream, repository }, above);
    }
    this.#queue.delete(digest);
  }

  close(): void {
    this.#isClosed = true;
    this.#queue.clear();
  }

  #enqueue({ upstream, repository }: Job, layers: readonly Digest[]): void {
    for (const layer of layers) {
      if (this.#queue.size >= MAX_QUEUED) break;
      if (!this.#queue.has(layer)) this.#queue.set(layer, { upstream, repository });
    }
    this.#goOn();
  }

  /** One begins after the other, so that they come in their order, and a few are under way. */
  async #begin(): Promise<void> {
    if (this.#isBeginning) return;
    this.#isBeginning = true;
    try {
      for (let next = this.#next(); next !== undefined; next = this.#next()) {
        const fill = await this.#options.blobs.prefetch(next);
        if (fill === undefined) continue;
        this.#running++;
        void fill.stored.then((isStored) => {
          this.#running--;
          if (isStored) this.#options.onFetched();
          this.#goOn();
        });
      }
    } finally {
      this.#isBeginning = false;
    }
  }

  #next(): (Job & { readonly digest: Digest }) | undefined {
    while (this.#running < MAX_AT_ONCE && !this.#isClosed) {
      const [next] = this.#queue;
      if (next === undefined) return undefined;
      const [digest, job] = next;
      this.#queue.delete(digest);
      if (!this.#habits.isHad(digest) && this.#options.mayPrefetch(job.upstream, job.repository.name)) {
        return { ...job, digest };
      }
    }
    return undefined;
  }

  #goOn(): void {
    this.#begin().catch(this.#options.onError);
  }
}
