import { statSync } from 'node:fs';
import { request, Agent, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { inBenchFolder } from '../bench-folder.ts';
import type { Command, CommandContext } from '../command.ts';
import { pierhead } from '../contestants.ts';
import { readMetrics } from '../metrics.ts';
import { count } from '../options.ts';
import { memoryOf, openDescriptors } from '../process-probe.ts';
import { formatNumber, table } from '../report.ts';
import { freePort, type ServerProcess } from '../server-process.ts';
import { Random } from '../soak/random.ts';
import { missingForStage } from '../stage.ts';
import { EndlessRegistry } from './registry.ts';
import { VariedRequests, type VariedRequest } from './requests.ts';

const IMAGES = 500;
const CONNECTIONS = 32;
/** Of its tenth, which is for manifests, tags and links, evictions begin long before the end. */
const CACHE_BYTES = 1_000_000_000;
const SAMPLES = 20;
/** What the last third may take beyond the most of the second third. */
const GROWTH_ALLOWED = 1.1;

const USAGE = `npm run bench -- varied [options]

  Sends requests that name ever new repositories, tags, digests, namespaces, ranges and clients, many of them of nothing
  that exists, and fails if memory, metrics, descriptors or the index still grow in the last third, or if an answer is
  none that the contract knows.

  --requests <n>     how many (default 1000000)
  --seed <n>         what the choices are made from (default 1)
  --node <path>      the Node binary that runs Pierhead (default: this one)
  --no-write         leave RESULTS.md as it is
`;

interface VariedOptions {
  readonly requests: number;
  readonly seed: number;
  readonly node: string;
}

/** What the server holds after so many requests. */
interface Sample {
  readonly sent: number;
  readonly residentBytes: number;
  readonly anonBytes: number;
  readonly descriptors: number;
  readonly series: number;
  readonly indexBytes: number;
}

type Measured = Exclude<keyof Sample, 'sent'>;

export const VARIED: Command<VariedOptions> = {
  usage: USAGE,
  parse,
  missing: missingForStage,
  run: (options, context) =>
    inBenchFolder(async (folder) => {
      const registry = new EndlessRegistry(IMAGES);
      await registry.start();
      try {
        return await runIn(folder, registry, options, context);
      } finally {
        await registry.close();
      }
    }),
};

function parse(argv: readonly string[]): VariedOptions | 'help' {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      requests: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: '1' },
      node: { type: 'string', default: process.execPath },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  return {
    requests: count('--requests', values.requests),
    seed: count('--seed', values.seed),
    node: values.node,
  };
}

async function runIn(
  folder: string,
  registry: EndlessRegistry,
  options: VariedOptions,
  { root, circumstances, say, report }: CommandContext,
): Promise<boolean> {
  const admin = `127.0.0.1:${await freePort()}`;
  const settings = { 'admin-listen': admin, 'cache-size': String(CACHE_BYTES), 'log-level': 'warn' };
  const server = await pierhead({ root, node: options.node, settings }).start({
    upstreamUrl: registry.url,
    folder,
  });
  const samples: Sample[] = [];
  try {
    const run = new VariedRun(server, new VariedRequests(new Random(options.seed), registry));
    for (let at = 1; at <= SAMPLES; at++) {
      await run.until(Math.round((options.requests * at) / SAMPLES));
      const sample = await sampled(server, { folder, admin, sent: run.sent });
      samples.push(sample);
      say(rowOf(sample).join('  '));
    }
    const head = [
      'requests',
      'resident, MB',
      'anonymous, MB',
      'descriptors',
      'series of metrics',
      'index, MB',
    ];
    const answers = run.answers;
    const text = `${formatNumber(options.requests)} requests over ${CONNECTIONS} connections, a cache of ${CACHE_BYTES / 1e6} MB; answers: ${answers}.

${table(head, samples.map(rowOf))}`;
    say(`\n${text}\n`);
    report('varied', `## Ever new names\n\n${circumstances.line}\n\n${text}`);
    const failures = [...growing(samples), ...run.unexpected];
    for (const failure of failures) say(`FAILED: ${failure}`);
    return failures.length === 0;
  } finally {
    await server.stop();
  }
}

async function sampled(
  { pid }: ServerProcess,
  { folder, admin, sent }: { readonly folder: string; readonly admin: string; readonly sent: number },
): Promise<Sample> {
  const metrics = await readMetrics(`http://${admin}`);
  return {
    sent,
    ...(await memoryOf(pid)),
    descriptors: (await openDescriptors(pid)).length,
    series: metrics.size,
    indexBytes: statSync(join(folder, 'data/index/data.mdb')).size,
  };
}

function rowOf(sample: Sample): string[] {
  const { sent, residentBytes, anonBytes, descriptors, series, indexBytes } = sample;
  return [sent, residentBytes / 1e6, anonBytes / 1e6, descriptors, series, indexBytes / 1e6].map(
    formatNumber,
  );
}

/** What the last third of the run has more of than the second third ever had. */
function growing(samples: readonly Sample[]): string[] {
  const third = Math.floor(samples.length / 3);
  const most = (from: number, to: number, what: Measured): number =>
    Math.max(...samples.slice(from, to).map((sample) => sample[what]));
  const measured: readonly Measured[] = ['anonBytes', 'descriptors', 'series', 'indexBytes'];
  return measured.flatMap((what) => {
    const before = most(third, 2 * third, what);
    const after = most(2 * third, samples.length, what);
    return after <= before * GROWTH_ALLOWED ? [] : [`${what} still grows: ${before}, then ${after}`];
  });
}

/** Sends one request after the other on each connection. */
class VariedRun {
  readonly #server: ServerProcess;
  readonly #requests: VariedRequests;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  readonly #statuses = new Map<string, number>();
  readonly #unexpected = new Set<string>();
  #sent = 0;

  constructor(server: ServerProcess, requests: VariedRequests) {
    this.#server = server;
    this.#requests = requests;
  }

  get sent(): number {
    return this.#sent;
  }

  /** Each status and how often it came. */
  get answers(): string {
    return [...this.#statuses]
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([status, times]) => `${formatNumber(times)} × ${status}`)
      .join(', ');
  }

  get unexpected(): readonly string[] {
    return [...this.#unexpected];
  }

  async until(total: number): Promise<void> {
    const worker = async (): Promise<void> => {
      while (this.#sent < total) {
        this.#sent++;
        const varied = this.#requests.next();
        const status = await this.#send(varied);
        this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
        if (!/^(?:200|206|40[0345]|416)$/.test(status) && this.#unexpected.size < 20) {
          this.#unexpected.add(`${varied.method} ${varied.path}: ${status}`);
        }
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  }

  async #send({ method, path, headers }: VariedRequest): Promise<string> {
    const { hostname, port } = new URL(this.#server.url);
    const outgoing = request({ hostname, port, path, method, headers, agent: this.#agent });
    try {
      const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
      outgoing.end();
      const [response] = await answered;
      response.resume();
      await once(response, 'end');
      return String(response.statusCode);
    } catch (error) {
      return (error as Error).message;
    }
  }
}
