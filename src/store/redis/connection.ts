import { AsyncLocalStorage } from 'node:async_hooks';
import type { Tell } from '../../events/events.ts';
import { RunningTime } from '../../lib/clock.ts';
import { type MaybePromise, withinMs } from '../../lib/promises.ts';
import { createRedisClients, type RedisClient } from './clients.ts';
import { failureOf, isSilence, type RedisFailure, RedisGuard } from './health.ts';

/** A timer may end a wait so much early by the clock that measures it, and what is left is no time to ask in. */
const NONE_BELOW_MS = 1;

/**
 * How long one request may wait for Redis in all, however many calls it takes: each of them may be in time, and all of
 * them together make a client wait that would be served without.
 */
export class RedisAllowance {
  readonly #ms: number;
  readonly #requests = new AsyncLocalStorage<{ leftMs: number }>();

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Does the work of one request. What it leaves to be done behind its back keeps nobody waiting, and is not limited. */
  during<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    const request = { leftMs: this.#ms };
    const end = (): void => {
      request.leftMs = Infinity;
    };
    let result: MaybePromise<T> | undefined;
    try {
      result = this.#requests.run(request, work);
      return result instanceof Promise ? result.finally(end) : result;
    } finally {
      if (!(result instanceof Promise)) end();
    }
  }

  get leftMs(): number {
    return this.#requests.getStore()?.leftMs ?? Infinity;
  }

  waited(ms: number): void {
    const request = this.#requests.getStore();
    if (request === undefined) return;
    request.leftMs -= ms;
    if (request.leftMs < NONE_BELOW_MS) request.leftMs = 0;
  }
}

/** All keys and channels begin with this, so that a Redis can be shared with other programs. */
export const REDIS_PREFIX = 'pierhead:v1:';

const CALL_TIMEOUT_MS = 40;
const CONNECT_TIMEOUT_MS = 5000;
/**
 * On a busy machine an answer waits for this process more often than this process for Redis. Calls last milliseconds, so
 * standstills as short as these must be told from a slow Redis.
 */
const time = new RunningTime({ beatMs: 5 });
const HEARTBEAT_MS = 10_000;
const RECONNECT_PAUSE_MS = 100;
/** A name is not looked up more often than this for the sake of a master that has gone. */
const LEAVE_EVERY_MS = 5000;

/** `up`: used. `waiting`: connected, but it does not answer in time and is left alone for now. `down`: not connected. */
export type RedisState = 'up' | 'waiting' | 'down';

export interface RedisConnectionOptions {
  /** See lib/redis-address.ts. */
  readonly url: string;
  readonly tell: Tell<'redisFailed'>;
  /** The longest that a call is waited for; default 40. */
  readonly callTimeoutMs?: number;
  /** By when a connection must stand; default 5000. */
  readonly connectTimeoutMs?: number;
}

/**
 * A Redis that may be slow, gone, full or not ours. What is asked of it is answered within the time limit or not at
 * all: nothing here rejects, and nobody waits for a Redis that is known not to answer.
 */
export class RedisConnection {
  readonly #tell: Tell<'redisFailed'>;
  readonly #callTimeoutMs: number;
  readonly #allowance: RedisAllowance;
  readonly #client: RedisClient;
  readonly #subscriber: RedisClient;
  /** Both of them, which are one on a cluster. */
  readonly #clients: ReadonlySet<RedisClient>;
  readonly #guard: RedisGuard;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #running = new Set<Promise<unknown>>();
  readonly #channels = new Map<string, ((message: string) => void)[]>();
  readonly #onLost: (() => void)[] = [];
  /** Whether a master was here, now or before. */
  #hadMaster = false;
  #leftAt = -Infinity;
  #isClosed = false;

  constructor(options: RedisConnectionOptions) {
    const { url, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
    this.#tell = options.tell;
    this.#callTimeoutMs = options.callTimeoutMs ?? CALL_TIMEOUT_MS;
    const { commands, subscriber } = createRedisClients({ url, connectTimeoutMs });
    this.#allowance = new RedisAllowance(this.#callTimeoutMs);
    this.#client = commands;
    this.#subscriber = subscriber;
    this.#clients = new Set([commands, subscriber]);
    this.#guard = new RedisGuard({ probe: () => this.#isAlive(), slowMs: this.#callTimeoutMs / 3 });
    for (const client of this.#clients) {
      client.on('error', (error: unknown) => this.#noted(error));
      client.on('end', () => this.#connectAgain(client));
    }
    commands.on('ready', () => {
      this.#guard.reset();
      void this.#learnRole();
    });
    commands.on('close', () => this.#lost());
    subscriber.on('ready', () => this.#subscribe([...this.#channels.keys()]));
    subscriber.on('message', (channel: string, text: string) => this.#heard(channel, text));
    this.#heartbeat = setInterval(() => void this.#beat(), HEARTBEAT_MS).unref();
  }

  get state(): RedisState {
    if (this.#client.status !== 'ready') return 'down';
    return this.#guard.isOpen ? 'waiting' : 'up';
  }

  /** What `call` resolves to; undefined if that fails or takes too long, which is reported. Never rejects. */
  try<T extends {} | null>(call: (client: RedisClient) => Promise<T>): Promise<T | undefined> {
    return this.#call(call, this.#callTimeoutMs);
  }

  /** The same for what a request waits for, which waits for all of its calls together no longer than for one. */
  async ask<T extends {} | null>(call: (client: RedisClient) => Promise<T>): Promise<T | undefined> {
    const { leftMs } = this.#allowance;
    if (this.state !== 'up') return undefined;
    if (leftMs <= 0) return this.#failed('slow');
    const startedAt = time.now();
    const value = await this.#call(call, Math.min(leftMs, this.#callTimeoutMs));
    this.#allowance.waited(time.now() - startedAt);
    return value;
  }

  /** Sends what must not wait for a Redis that is slow; nobody hears what comes of it. */
  send(call: (client: RedisClient) => Promise<unknown>): void {
    if (this.#client.status !== 'ready') return;
    const sent = Promise.resolve(this.#client).then(call);
    sent.catch((error: unknown) => this.#noted(error));
  }

  /** Does the work of one request of a client. */
  duringRequest<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    return this.#allowance.during(work);
  }

  /** Resolves when all that was tried so far has come to an end. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Calls `listener` with every message on the channel from now on, other servers' and this one's. */
  listen(channel: string, listener: (message: string) => void): void {
    const listeners = this.#channels.get(channel);
    if (listeners !== undefined) {
      listeners.push(listener);
      return;
    }
    this.#channels.set(channel, [listener]);
    if (this.#subscriber.status === 'ready') this.#subscribe([channel]);
  }

  /** Calls `listener` whenever Redis stops being used: messages may be missed from then on. */
  onLost(listener: () => void): void {
    this.#onLost.push(listener);
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#heartbeat);
    this.#guard.close();
    for (const client of this.#clients) client.disconnect();
  }

  async #call<T extends {} | null>(
    call: (client: RedisClient) => Promise<T>,
    limitMs: number,
  ): Promise<T | undefined> {
    if (this.state !== 'up') return undefined;
    const startedAt = time.now();
    // That a call had less time than others have says nothing of Redis.
    const lateness = limitMs < this.#callTimeoutMs ? 'slow' : 'timeout';
    // What is thrown at once is a failure like any other.
    const calling = Promise.resolve(this.#client).then(call);
    const answer = withinMs(calling, limitMs, time).then(
      (value) => (value === undefined ? this.#failed(lateness) : value),
      (error: unknown) => this.#failed(failureOf(error)),
    );
    this.#running.add(answer);
    const value = await answer;
    this.#running.delete(answer);
    if (value !== undefined && !this.#guard.answered(time.now() - startedAt)) this.#failed('slow');
    return value;
  }

  #noted(error: unknown): void {
    this.#tell('redisFailed', { kind: failureOf(error) });
  }

  #failed(failure: RedisFailure): undefined {
    this.#tell('redisFailed', { kind: failure });
    if (isSilence(failure)) this.#guard.failed();
    if (failure === 'read-only') this.#leaveReplica();
    if (this.#guard.isOpen) this.#lost();
    return undefined;
  }

  #lost(): void {
    for (const listener of this.#onLost) listener();
  }

  async #learnRole(): Promise<void> {
    const replication = await this.#client.info('replication').catch(() => '');
    if (replication.includes('role:master')) this.#hadMaster = true;
  }

  /** Where a master was and takes no more writes, its name leads to another one by now, or soon will. */
  #leaveReplica(): void {
    const now = performance.now();
    if (!this.#hadMaster || now - this.#leftAt < LEAVE_EVERY_MS) return;
    this.#leftAt = now;
    for (const client of this.#clients) client.disconnect(true);
  }

  /**
   * A client of ioredis connects by itself, but gives up for good if a sentinel announces a new master while another is
   * asked who it is.
   */
  #connectAgain(client: RedisClient): void {
    setTimeout(() => {
      if (!this.#isClosed) client.connect().catch(() => undefined);
    }, RECONNECT_PAUSE_MS).unref();
  }

  #subscribe(channels: readonly string[]): void {
    if (channels.length === 0) return;
    this.#subscriber.subscribe(...channels).catch((error: unknown) => this.#noted(error));
  }

  #heard(channel: string, text: string): void {
    for (const listener of this.#channels.get(channel) ?? []) listener(text);
  }

  async #isAlive(): Promise<boolean> {
    if (this.#client.status !== 'ready') return false;
    const startedAt = time.now();
    const answer = await withinMs(
      this.#client.ping().catch(() => undefined),
      this.#callTimeoutMs,
      time,
    );
    return answer !== undefined && time.now() - startedAt <= this.#callTimeoutMs / 3;
  }

  /** Makes a connection notice that its other end is gone, on which nothing is sent but what others publish. */
  async #beat(): Promise<void> {
    if (this.#subscriber === this.#client || this.#subscriber.status !== 'ready') return;
    await this.#subscriber.ping().catch(() => undefined);
  }
}
