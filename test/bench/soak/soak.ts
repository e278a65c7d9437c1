import { setMaxListeners } from 'node:events';
import { copyFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { humanBytes, humanDuration } from '../../../src/lib/text.ts';
import type { Command } from '../command.ts';
import { readMetrics } from '../metrics.ts';
import { count } from '../options.ts';
import { openDescriptors } from '../process-probe.ts';
import { missingForStage, onStage, type Stage } from '../stage.ts';
import {
  checkBlobs,
  checkDescriptors,
  checkEnding,
  checkParts,
  descriptorsAtRest,
  untilQuiet,
  untilReady,
  untilSettled,
} from './aftermath.ts';
import { SoakClient } from './client.ts';
import { DiskWatch } from './disk-watch.ts';
import { Random } from './random.ts';
import { Tally } from './tally.ts';
import { Trouble } from './trouble.ts';
import { fillWorld, type World } from './world.ts';

const CLIENTS = 12;
/** A third of what upstream holds. */
const CACHE_BYTES = 400_000_000;
const FORGET_EVERY_MS = 5000;
const HEADERS_TIMEOUT_MS = 2000;
const PULLERS = 4;
/** Images are spared for a while after a pull: at this rate there is always one that can go for the next. */
const UNHURRIED_BYTES_PER_SECOND = 20_000_000;

const USAGE = `npm run bench -- soak [options]

  Cold and hot pulls of many images, ranges, HEADs and clients that leave, while upstream cuts, stalls, corrupts, fails
  and vanishes, in a cache that is too small for it all. Fails if an answer ends cleanly with wrong bytes, if files or
  descriptors are left over, if the disk is ever over its limit, if anything does not heal, or on an internal error.

  --minutes <n>      how long (default 5)
  --seed <n>         what the choices are made from (default: another one each time, which is told)
  --log <file>       keep the log of Pierhead there
  --node <path>      the Node binary that runs Pierhead (default: this one)
`;

interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly node: string;
  readonly log: string | undefined;
}

function parse(argv: readonly string[]): SoakOptions | 'help' {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      minutes: { type: 'string', default: '5' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      log: { type: 'string' },
      node: { type: 'string', default: process.execPath },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const { log, node } = values;
  return { minutes: count('--minutes', values.minutes), seed: count('--seed', values.seed), log, node };
}

export const SOAK: Command<SoakOptions> = {
  usage: USAGE,
  parse,
  missing: missingForStage,
  run: (options, { root, say }) => {
    const stage = {
      root,
      node: options.node,
      // Tokens and redirects run out in the middle of things.
      hub: { pulls: 'unlimited', tokenLifetimeSeconds: 20, urlLifetimeSeconds: 3 },
      settings: {
        'cache-size': String(CACHE_BYTES),
        'tag-ttl': '1s',
        'headers-timeout': `${HEADERS_TIMEOUT_MS}ms`,
        'idle-timeout': '4s',
      },
    } as const;
    return onStage(stage, async (started) => {
      say(`${options.minutes} min with the seed ${options.seed}`);
      const tally = new Tally();
      try {
        await new Soak(started, options, tally).run(root);
        for (const line of await report(started, tally)) say(line);
      } catch (error) {
        tally.violation(
          'the soak broke off',
          error instanceof Error ? (error.stack ?? error.message) : String(error),
        );
      }
      await checkEnding(started, tally);
      if (options.log !== undefined) await copyFile(started.server.logPath, options.log);
      for (const violation of tally.violations) say(`VIOLATION: ${violation}`);
      say(
        tally.violations.length === 0 ? 'nothing was wrong' : `${tally.violations.length} rules were broken`,
      );
      return tally.violations.length === 0;
    });
  },
};

class Soak {
  readonly #stage: Stage;
  readonly #options: SoakOptions;
  readonly #tally: Tally;
  readonly #random: Random;
  readonly #world: World;

  constructor(stage: Stage, options: SoakOptions, tally: Tally) {
    this.#stage = stage;
    this.#options = options;
    this.#tally = tally;
    this.#random = new Random(options.seed);
    this.#world = fillWorld(stage.hub, this.#random);
  }

  async run(root: string): Promise<void> {
    const stage = this.#stage;
    const tally = this.#tally;
    const disk = new DiskWatch({ dataDir: stage.dataDir, maxBytes: CACHE_BYTES, tally });
    const atStart = await openDescriptors(stage.server.pid);
    await this.#pullEverything({ bytesPerSecond: Infinity });
    // What is opened once and stays, such as that of threads, is no leak.
    const before = await descriptorsAtRest(stage, atStart);
    await this.#mix();
    await untilReady(stage, tally);
    // Now that upstream is sound everything is to be had, and what was kept of broken transfers is used up.
    await this.#pullEverything({ bytesPerSecond: UNHURRIED_BYTES_PER_SECOND });
    await untilQuiet(stage, tally);
    await untilSettled(stage);
    await checkParts(stage, tally);
    await checkDescriptors(stage, before, tally);
    await checkBlobs(stage, { root, node: this.#options.node }, tally);
    disk.end();
  }

  async #mix(): Promise<void> {
    const { hub } = this.#stage;
    const tally = this.#tally;
    const over = AbortSignal.timeout(this.#options.minutes * 60_000);
    setMaxListeners(0, over);
    const clients = Array.from({ length: CLIENTS }, (_, at) => this.#client(at));
    const trouble = new Trouble({ hub, world: this.#world, random: this.#random, tally });
    const forgetting = setInterval(() => this.#forgetRequests(), FORGET_EVERY_MS);
    try {
      await Promise.all([trouble.run(over), ...clients.map((client) => client.run(over))]);
    } finally {
      clearInterval(forgetting);
    }
    this.#forgetRequests();
  }

  async #pullEverything({ bytesPerSecond }: { readonly bytesPerSecond: number }): Promise<void> {
    const waiting = this.#world.repositories.flatMap((repository) =>
      repository.versions.map((version) => ({ repository, version })),
    );
    const workers = Array.from({ length: PULLERS }, async (_, at) => {
      const client = this.#client(at);
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const { repository, version } = next;
        const image = `${repository.name}@${version.root.digest}`;
        const bytes = version.blobs.reduce((sum, { size }) => sum + size, 0);
        const isWhole = await client.pull(repository, version);
        if (!isWhole) {
          const rule = 'an image is not to be had although upstream is sound';
          this.#tally.violation(rule, `${image}; ${client.lastFailure}`);
        }
        await sleep((bytes / bytesPerSecond) * PULLERS * 1000);
      }
      client.close();
    });
    await Promise.all(workers);
  }

  /** Clients have addresses of their own, as in an office: limits are by address. */
  #client(at: number): SoakClient {
    const { url } = this.#stage.server;
    const from = `127.0.1.${at + 1}`;
    return new SoakClient({ url, from, world: this.#world, random: this.#random, tally: this.#tally });
  }

  /** The stand-in remembers every request. */
  #forgetRequests(): void {
    const { hub } = this.#stage;
    for (const { reason, request } of hub.violations) {
      this.#tally.violation(`upstream noticed: ${reason}`, `${request.method} ${request.path}`);
    }
    hub.reset();
  }
}

async function report({ adminUrl, memory, server }: Stage, tally: Tally): Promise<string[]> {
  const metrics = await readMetrics(adminUrl);
  const bytes = (name: string): string => humanBytes(metrics.sum(`pierhead_${name}_bytes_total`));
  const fills = metrics.series('pierhead_fills_total').map(([labels, value]) => `${labels} ${value}`);
  const { anonBytes, residentBytes } = memory.peak;
  return [
    ...tally.lines,
    `fills: ${fills.join(', ')}; ${metrics.sum('pierhead_fill_segments_total')} segments`,
    `sent ${bytes('response_body')}, received ${bytes('upstream_body')}, resumed ${bytes('fill_resumed')}`,
    `evicted ${metrics.sum('pierhead_evicted_blobs_total')} blobs of ${bytes('evicted')}`,
    `anonymous memory at most ${humanBytes(anonBytes)}, resident ${humanBytes(residentBytes)}`,
    `processor time ${humanDuration((await server.processorTime()).all * 1000)}`,
  ];
}
