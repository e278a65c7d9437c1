/** The pull limit of one identity, for people, metrics and other servers. */
export interface PullLimitState {
  /** `anonymous`, a user name, or which token. */
  readonly identity: string;
  /** Whose limit it is, as upstream sees it. */
  readonly source?: string;
  readonly limit?: number;
  readonly remaining?: number;
  readonly windowMs?: number;
  /** When the numbers were read; ms since the epoch. */
  readonly readAt: number;
  /** Only real misses may be fetched. */
  readonly isLow: boolean;
  /** Until when no pull is worth trying; ms since the epoch. Undefined: there are some left. */
  readonly spentUntil?: number;
  /** When it will be used up at the rate of the last hour; ms since the epoch. Undefined: not in this window. */
  readonly emptyAt?: number;
}

export type PullLimitNews =
  | { readonly kind: 'read'; readonly state: PullLimitState }
  /** So many pulls are on their way, under the limit of that source as far as is known. */
  | { readonly kind: 'spent'; readonly pulls: number; readonly source?: string };

/** Where servers that pull under the same identity tell each other what they read and spend. */
export interface SharedPullLimits {
  /** What another server has left for those who come later; undefined: nothing, or nobody can be asked. Never rejects. */
  load(key: string): Promise<PullLimitState | undefined>;
  /** Tells the others, and leaves what was read for those who come later. Returns at once, and never throws. */
  publish(key: string, news: PullLimitNews): void;
  /** Calls `listener` with what others publish. */
  subscribe(listener: (key: string, news: PullLimitNews) => void): void;
}
