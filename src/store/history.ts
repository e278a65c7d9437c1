import type { Digest } from '../oci/digest.ts';

/** What a client was served, as far as it tells one pull from another. All of it is text. */
export interface PullRecord {
  /** Its key: `docker.io/library/golang`. */
  readonly repository: string;
  /** Under which it was asked for; absent: by digest alone. */
  readonly tag?: string;
  /** What the tag named, or what was asked for by digest: a list, where there is one. */
  readonly root: Digest;
  /** The manifest that was served out of that list; absent: the root itself was. */
  readonly child?: Digest;
  /** `os/architecture[/variant]` by its usual names; absent: nothing tells. */
  readonly platform?: string;
  /** In CIDR notation; empty: unknown. No address of a single client is kept. */
  readonly network: string;
}

/** What was pulled from when to when; ms since the epoch. */
export interface PullEntry extends PullRecord {
  readonly firstAt: number;
  readonly lastAt: number;
  readonly pulls: number;
}

/** Takes down what clients pull. */
export interface PullHistory {
  /** Costs next to nothing: it is noted, and written later. */
  note(pull: PullRecord): void;
}
