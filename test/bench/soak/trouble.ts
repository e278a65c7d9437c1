import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault, FaultAction, FaultRule } from '../../fake/faults.ts';
import type { FakeHub } from '../../fake/hub.ts';
import type { RequestFilter } from '../../fake/log.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';
import { moveTag, type World } from './world.ts';

const MAX_AT_A_TIME = 4;
const CORRUPTED_BLOBS = 30;
const MAX_OFFSET = 20_000_000;
const ENDS = ['fin', 'rst'] as const;

export interface TroubleOptions {
  readonly hub: FakeHub;
  readonly world: World;
  readonly random: Random;
  readonly tally: Tally;
}

/** Makes upstream misbehave in all the ways that the stand-in knows, several at a time, with calm in between. */
export class Trouble {
  readonly #options: TroubleOptions;
  readonly #active = new Map<Fault, number>();

  constructor(options: TroubleOptions) {
    this.#options = options;
  }

  /** Until `signal` is aborted; upstream is sound again then. */
  async run(signal: AbortSignal): Promise<void> {
    const { hub, random, world } = this.#options;
    while (!signal.aborted) {
      await sleep(random.between(100, 700));
      this.#end((until) => until < performance.now());
      const dice = random.next();
      if (dice < 0.03) await this.#vanish();
      else if (dice < 0.06) await this.#calm();
      else if (dice < 0.2) moveTag(hub, random.pick(world.repositories), random);
      else if (new Set(this.#active.values()).size < MAX_AT_A_TIME) this.#begin();
    }
    this.#end(() => true);
    hub.clearFaults();
  }

  #begin(): void {
    const { hub, random, tally } = this.#options;
    const [name, rules] = this.#trouble();
    tally.count('trouble', name);
    const until = performance.now() + random.spread(1000, 12_000);
    for (const rule of rules) this.#active.set(hub.fault(rule), until);
  }

  #end(isOver: (until: number) => boolean): void {
    for (const [fault, until] of this.#active) {
      if (!isOver(until)) continue;
      this.#active.delete(fault);
      fault.remove();
      fault.release();
    }
  }

  async #calm(): Promise<void> {
    this.#end(() => true);
    await sleep(this.#options.random.between(1000, 4000));
  }

  /** Nobody answers on any of its ports, and every connection is cut. */
  async #vanish(): Promise<void> {
    const { hub, random, tally } = this.#options;
    tally.count('trouble', 'upstream gone');
    await hub.stop();
    // Now and then for longer than a transfer goes on trying.
    await sleep(random.spread(300, 15_000));
    await hub.start();
  }

  #trouble(): readonly [name: string, rules: readonly FaultRule[]] {
    const { random } = this.#options;
    if (random.chance(0.1)) return ['corrupted blobs', this.#corruptions()];
    if (random.chance(0.1)) return ['cut, and then nothing', this.#givingUp()];
    const [name, action] = random.pick<readonly [string, FaultRule]>([
      ...this.#ofBodies(),
      ...this.#ofAnything(),
    ]);
    return [name, [action]];
  }

  /** Only of blobs that may be corrupted; many, so that some of them are asked for. */
  #corruptions(): FaultRule[] {
    const { random, world } = this.#options;
    return Array.from({ length: CORRUPTED_BLOBS }, () => {
      const reference = random.pick([...world.frail]);
      const corruptAt = random.pick([0, random.between(0, 19_999), random.spread(1, MAX_OFFSET)]);
      return { match: { host: 'blobs', method: 'GET', reference }, do: { corruptAt } };
    });
  }

  /** Transfers have begun when everything fails, and may give up before it works again. */
  #givingUp(): FaultRule[] {
    const { random } = this.#options;
    const match = { host: 'blobs', method: 'GET' } as const;
    return [
      { match, times: random.between(1, 6), do: { cutAfterBytes: random.spread(10_000, 2_000_000) } },
      { match, do: { status: { code: 503 } } },
    ];
  }

  #ofBodies(): (readonly [name: string, rule: FaultRule])[] {
    const { random } = this.#options;
    const at = random.spread(1, MAX_OFFSET);
    const rule = (action: FaultAction): FaultRule => ({
      match: { host: 'blobs', method: 'GET' },
      times: random.between(1, 6),
      do: action,
    });
    return [
      ['cut', rule({ cutAfterBytes: at, cutBy: random.pick(ENDS) })],
      ['cut', rule({ cutAfterBytes: at, cutBy: random.pick(ENDS) })],
      ['stall', rule({ stallAfterBytes: at })],
      ['short body', rule({ truncate: { toBytes: at, contentLength: 'short' } })],
      ['short body', rule({ truncate: { toBytes: at, contentLength: 'absent' } })],
      ['no length', rule({ noContentLength: true })],
      ['false encoding', rule({ contentEncoding: 'gzip' })],
      ['range ignored', rule({ ignoreRange: true })],
      ['slow body', rule({ throttleBytesPerSecond: random.spread(100_000, 5_000_000) })],
    ];
  }

  #ofAnything(): (readonly [name: string, rule: FaultRule])[] {
    const { random } = this.#options;
    const match = random.pick<RequestFilter>([
      { host: 'registry', kind: 'manifest' },
      { host: 'registry', kind: 'blob' },
      { host: 'token' },
      { host: 'blobs' },
    ]);
    const rule = (action: FaultAction): FaultRule => ({ match, times: random.between(1, 6), do: action });
    const manifest = { host: 'registry', kind: 'manifest', method: 'GET' } as const;
    return [
      ['5xx', rule({ status: { code: random.pick([500, 502, 503, 504]) } })],
      // Without a time it is taken for a minute and more, which is nearly all there is.
      ['abuse limit', rule({ abuseLimit: { retryAfterSeconds: 1 } })],
      ['hang', rule({ hang: true })],
      ['hang-up', rule({ hangUp: random.pick(ENDS) })],
      ['slow head', rule({ delayHeadersMs: random.between(100, 2500) })],
      ['captive portal', rule({ html: true })],
      ['corrupted manifest', { match: manifest, times: 4, do: { corruptAt: random.between(0, 500) } }],
      ['wrong digest header', { match: manifest, times: 4, do: { wrongDigestHeader: true } }],
    ];
  }
}
