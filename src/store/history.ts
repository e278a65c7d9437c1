import type { Digest } from '../oci/digest.ts';

/** The pull of a client. Two pulls with equal records are counted in one entry. */
export interface PullRecord {
  /** Repository key: `docker.io/library/golang`. */
  readonly repository: string;
  /** The requested tag; undefined: the client pulled by digest. */
  readonly tag?: string | undefined;
  /** Digest of the tag, or the requested digest: of the index, if there is one. */
  readonly root: Digest;
  /** The manifest that was served from the index; undefined: `root` itself was served. */
  readonly child?: Digest | undefined;
  /** `os/architecture[/variant]`; undefined: unknown. */
  readonly platform?: string | undefined;
  /** The client's network in CIDR notation; empty: unknown. Addresses of single clients are not kept. */
  readonly network: string;
}

/** Pulls with equal records, between two times in ms since the epoch. */
export interface PullEntry extends PullRecord {
  readonly firstAt: number;
  readonly lastAt: number;
  readonly pulls: number;
}

/** Records the pulls of clients. */
export interface PullHistory {
  /** Cheap: notes the pull in memory; a batch is written later. */
  note(pull: PullRecord): void;
}
