import type { Tell } from '../../events/events.ts';
import type { PullLimitNews, PullLimitState, SharedPullLimits } from '../../oci/pull-limit.ts';
import { PullLimit, type PullLimitOptions } from './pull-limit.ts';

export interface PullLimitsOptions extends Omit<PullLimitOptions, 'identity' | 'onChange'> {
  readonly shared: SharedPullLimits | undefined;
  readonly tell: Tell<'pullLimit'>;
}

/** The pull limits of all identities at one upstream. */
export class PullLimits {
  readonly #options: PullLimitsOptions;
  readonly #pullLimits = new Map<string, PullLimit>();

  constructor(options: PullLimitsOptions) {
    this.#options = options;
    options.shared?.subscribe((key, news) => this.#heard(key, news));
  }

  of(identity: string): PullLimit {
    const known = this.#pullLimits.get(identity);
    if (known !== undefined) return known;
    const { host, lowShare, reserve, shared, tell, now } = this.#options;
    const key = this.#key(identity);
    const pullLimit = new PullLimit({
      host,
      identity,
      lowShare,
      reserve,
      now,
      onChange: (state, foreignPulls) => {
        shared?.publish(key, { kind: 'read', state });
        tell('pullLimit', { upstream: host, state, foreignPulls });
      },
    });
    this.#pullLimits.set(identity, pullLimit);
    void shared?.load(key).then((state) => {
      if (state !== undefined) this.#adopt(pullLimit, state);
    });
    return pullLimit;
  }

  /** Call when a pull of `identity` is sent. */
  spend(identity: string): void {
    const { source } = this.of(identity).state;
    this.#options.shared?.publish(this.#key(identity), { kind: 'spent', pulls: 1, source });
  }

  #heard(key: string, news: PullLimitNews): void {
    const prefix = this.#key('');
    if (!key.startsWith(prefix)) return;
    const pullLimit = this.#pullLimits.get(key.slice(prefix.length));
    if (pullLimit === undefined) return;
    if (news.kind === 'spent') pullLimit.spentElsewhere(news.pulls, news.source);
    else this.#adopt(pullLimit, news.state);
  }

  /** Reports the other server's reading, without publishing it again. */
  #adopt(pullLimit: PullLimit, state: PullLimitState): void {
    const { host, tell } = this.#options;
    if (!pullLimit.adopt(state)) return;
    tell('pullLimit', { upstream: host, state: pullLimit.state, foreignPulls: 0 });
  }

  #key(identity: string): string {
    return `${this.#options.host} ${identity}`;
  }
}
