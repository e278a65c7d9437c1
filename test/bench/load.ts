import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { PROGRAM_PATH } from './programs.ts';

const run = promisify(execFile);

/** What a Docker Engine without the containerd store sends, but for the order and number of its Accept lines. */
export const CLIENT_HEADERS: Readonly<Record<string, string>> = {
  Accept: [
    'application/vnd.oci.image.index.v1+json',
    'application/vnd.docker.distribution.manifest.list.v2+json',
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
  ].join(', '),
  'User-Agent': 'docker/28.5.2 go/go1.24.8 git-commit/89c5e8f kernel/6.1.0 os/linux arch/amd64',
};

/** The same for curl and wrk. */
export const HEADER_ARGS = Object.entries(CLIENT_HEADERS).flatMap(([name, value]) => [
  '-H',
  `${name}: ${value}`,
]);

/** What a load has come to. */
export interface Load {
  readonly seconds: number;
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface SteadyLoadOptions {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  /** `summary.lua`, which makes wrk print exact figures. */
  readonly summaryScript: string;
  /** For `random-paths.lua` in its place: a file of paths, one of which is asked for each time. */
  readonly pathsFile?: string;
}

/** wrk with one thread, each connection asking again as soon as it was answered. Throws if any request failed. */
export async function steadyLoad(options: SteadyLoadOptions): Promise<Load> {
  const { url, connections, seconds, summaryScript, pathsFile } = options;
  const { stdout } = await run(
    'wrk',
    [
      '--threads=1',
      `--connections=${connections}`,
      `--duration=${seconds}s`,
      '--timeout=60s',
      `--script=${summaryScript}`,
      ...HEADER_ARGS,
      url,
      ...(pathsFile === undefined ? [] : ['--', pathsFile]),
    ],
    { env: { PATH: PROGRAM_PATH } },
  );
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  const summary = JSON.parse(line ?? '{}') as Record<string, number>;
  const { durationUs = 0, requests = 0, errors, badStatuses, p50Us = 0, p99Us = 0 } = summary;
  if (errors !== 0 || badStatuses !== 0) throw new Error(`wrk ${url}: requests failed: ${line ?? stdout}`);
  return { seconds: durationUs / 1e6, requests, p50Ms: p50Us / 1e3, p99Ms: p99Us / 1e3 };
}

export interface DownloadOptions {
  readonly url: string;
  readonly count: number;
  /** How many run at a time, each on its own connection. */
  readonly connections: number;
  /** What each is expected to bring, in bytes. */
  readonly size: number;
}

/**
 * `count` downloads of `url` by one curl, which reads 100 kB at a time: wrk reads 8 KiB and is spent before a server
 * that uses sendfile is. Resolves to the wall time in seconds, start of curl included; throws unless each of the
 * downloads got a 200 and `size` bytes.
 */
export async function downloads({ url, count, connections, size }: DownloadOptions): Promise<number> {
  const args = [
    '--disable',
    '--no-progress-meter',
    '--parallel',
    '--parallel-immediate',
    '--parallel-max',
    String(connections),
    '--write-out',
    String.raw`%{http_code} %{size_download}\n`,
    ...HEADER_ARGS,
    ...Array.from({ length: count }, () => ['--output', '/dev/null', url]).flat(),
  ];
  const started = performance.now();
  const { stdout } = await run('curl', args, { env: { PATH: PROGRAM_PATH } });
  const seconds = (performance.now() - started) / 1000;
  const results = stdout.trim().split('\n');
  if (results.length !== count || results.some((result) => result !== `200 ${size}`)) {
    throw new Error(`curl ${url}: expected ${count} × "200 ${size}", got ${results.join(', ')}`);
  }
  return seconds;
}

/** One GET; throws unless the answer is a 200 whose body has the SHA-256 `digest`. */
export async function fetchVerified(url: string, digest: string): Promise<void> {
  const outgoing = request(url, { headers: CLIENT_HEADERS, agent: false }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const hash = createHash('sha256');
  for await (const chunk of response) hash.update(chunk as Buffer);
  const got = `sha256:${hash.digest('hex')}`;
  if (response.statusCode !== 200 || got !== digest) {
    throw new Error(`GET ${url}: ${response.statusCode} with ${got}, expected ${digest}`);
  }
}
