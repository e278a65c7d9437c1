import { Counter, Gauge, type Registry } from 'prom-client';
import type { BreakerEvent, Events, Listener, PullLimitEvent } from '../events/events.ts';

const UPSTREAM_STATES = ['up', 'silent', 'down', 'offline'] as const;
export type UpstreamState = (typeof UPSTREAM_STATES)[number];

const STATES = { closed: 0, 'half-open': 1, open: 2 } as const;

/** State of upstreams: breakers and pull limits. */
export class UpstreamMetrics implements Listener {
  readonly #registry: Registry;
  readonly #state;
  readonly #changes;
  readonly #limit;
  readonly #remaining;
  readonly #low;
  readonly #emptyAt;
  readonly #foreign;
  readonly #throttled;
  readonly #fallbacks;

  constructor(registry: Registry) {
    this.#registry = registry;
    const breaker = ['upstream', 'kind', 'host'] as const;
    const identity = ['upstream', 'identity'] as const;
    const registers = [registry];
    this.#state = new Gauge({
      name: 'pierhead_upstream_breaker_state',
      help: '0 if the breaker is closed, 1 if half-open, 2 if open; kind is registry, tokens or blobs',
      labelNames: breaker,
      registers,
    });
    this.#changes = new Counter({
      name: 'pierhead_upstream_breaker_changes_total',
      help: 'Number of breaker changes, by new state',
      labelNames: [...breaker, 'to'] as const,
      registers,
    });
    this.#limit = new Gauge({
      name: 'pierhead_pull_budget_limit',
      help: 'Number of pulls that the upstream allows in its window',
      labelNames: identity,
      registers,
    });
    this.#remaining = new Gauge({
      name: 'pierhead_pull_budget_remaining',
      help: 'Number of pulls left in the window, by the last answer of the upstream',
      labelNames: identity,
      registers,
    });
    this.#low = new Gauge({
      name: 'pierhead_pull_budget_low',
      help: '0 if enough pulls are left, 1 if few (only missing images are pulled), 2 if none',
      labelNames: identity,
      registers,
    });
    this.#emptyAt = new Gauge({
      name: 'pierhead_pull_budget_empty_timestamp_seconds',
      help: 'Unix time in seconds at which no pulls are left at the rate of the last hour; 0: not in this window',
      labelNames: identity,
      registers,
    });
    this.#foreign = new Counter({
      name: 'pierhead_pull_budget_foreign_pulls_total',
      help: 'Number of pulls that the upstream counted and this mirror did not make: clients bypass it',
      labelNames: identity,
      registers,
    });
    this.#fallbacks = new Counter({
      name: 'pierhead_upstream_fallbacks_total',
      help: 'Number of answers that came from fallback URLs',
      labelNames: ['upstream'] as const,
      registers,
    });
    this.#throttled = new Counter({
      name: 'pierhead_upstream_throttled_seconds_total',
      help: 'Seconds that downloads waited for the bandwidth limit of their upstream, in sum',
      labelNames: ['upstream'] as const,
      registers,
    });
  }

  fallback({ upstream }: Events['fallback']): void {
    this.#fallbacks.inc({ upstream });
  }

  throttled({ upstream, ms }: Events['throttled']): void {
    this.#throttled.inc({ upstream }, ms / 1000);
  }

  /** Reads `upstreams` at each scrape from now on. To be called once. */
  read(upstreams: () => readonly { readonly host: string; readonly state: UpstreamState }[]): void {
    const states: Gauge<'upstream' | 'state'> = new Gauge({
      name: 'pierhead_upstream_state',
      help: '1 if the upstream is in this state: up, silent (a request waited 2 s without any answer), down, or offline by setting',
      labelNames: ['upstream', 'state'],
      registers: [this.#registry],
      collect: () => {
        for (const { host: upstream, state: current } of upstreams()) {
          for (const state of UPSTREAM_STATES) states.set({ upstream, state }, state === current ? 1 : 0);
        }
      },
    });
  }

  breaker({ upstream, kind, host, state, isNew }: BreakerEvent): void {
    this.#state.set({ upstream, kind, host }, STATES[state]);
    if (!isNew) this.#changes.inc({ upstream, kind, host, to: state });
  }

  pullLimit({ upstream, state, foreignPulls }: PullLimitEvent): void {
    const labels = { upstream, identity: state.identity };
    if (state.limit !== undefined) this.#limit.set(labels, state.limit);
    if (state.remaining !== undefined) this.#remaining.set(labels, state.remaining);
    this.#low.set(labels, state.spentUntil === undefined ? Number(state.isLow) : 2);
    this.#emptyAt.set(labels, (state.emptyAt ?? 0) / 1000);
    this.#foreign.inc(labels, foreignPulls);
  }
}
