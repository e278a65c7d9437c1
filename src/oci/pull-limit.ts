/** The pull limit of one identity, for people, metrics and other servers. */
export interface PullLimitState {
  /** `anonymous`, a user name, or the name of a token. */
  readonly identity: string;
  /** The owner of the limit, as the registry names it. */
  readonly source?: string | undefined;
  readonly limit?: number | undefined;
  readonly remaining?: number | undefined;
  readonly windowMs?: number | undefined;
  /** When the numbers were read; ms since the epoch. */
  readonly readAt: number;
  /** True if only manifests that are not cached may be pulled. */
  readonly isLow: boolean;
  /** The limit is used up until then; ms since the epoch. Undefined: pulls are left. */
  readonly spentUntil?: number | undefined;
  /**
   * When the limit will be used up at the rate of the last hour; ms since the epoch. Undefined: not in this window.
   */
  readonly emptyAt?: number | undefined;
}

export type PullLimitNews =
  | { readonly kind: 'read'; readonly state: PullLimitState }
  /** `pulls` were sent under the limit of `source`, if that is known. */
  | { readonly kind: 'spent'; readonly pulls: number; readonly source?: string | undefined };

/** What servers that pull under the same identity share: readings of the pull limit, and pulls. */
export interface SharedPullLimits {
  /** The last reading of any server; undefined: none, or the store is unreachable. Never rejects. */
  load(key: string): Promise<PullLimitState | undefined>;
  /** Sends `news` to the other servers, and stores a reading for `load`. Returns at once and never throws. */
  publish(key: string, news: PullLimitNews): void;
  /** Calls `listener` with the news of other servers. */
  subscribe(listener: (key: string, news: PullLimitNews) => void): void;
}
