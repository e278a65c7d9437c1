import { LRUCache } from 'lru-cache';
import { atMost } from '../lib/lru-options.ts';
import type { Digest } from '../oci/digest.ts';

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
