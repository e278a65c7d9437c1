/** What is known of a fill here. */
export interface Abandonable {
  abort(): void;
}

/**
 * Bounds what a client can make the mirror fetch for nobody by asking for blobs and going away: so many of the fills
 * that it left go on, the next one ends.
 */
export class UnreadFills {
  readonly #max: number;
  readonly #byClient = new Map<string, Set<Abandonable>>();
  readonly #clientOf = new Map<Abandonable, string>();

  constructor(maxPerClient: number) {
    this.#max = maxPerClient;
  }

  /** `client` was the last to leave the fill. */
  add(fill: Abandonable, client: string): void {
    this.remove(fill);
    const left = this.#byClient.get(client) ?? new Set();
    if (left.size >= this.#max) {
      fill.abort();
      return;
    }
    this.#byClient.set(client, left.add(fill));
    this.#clientOf.set(fill, client);
  }

  /** It has a reader again, or is over. */
  remove(fill: Abandonable): void {
    const client = this.#clientOf.get(fill);
    if (client === undefined) return;
    this.#clientOf.delete(fill);
    const left = this.#byClient.get(client);
    left?.delete(fill);
    if (left?.size === 0) this.#byClient.delete(client);
  }
}
