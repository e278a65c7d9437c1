import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import pino from 'pino';
import { onTestFinished } from 'vitest';
import { startApp, type App } from '../../src/app/app.ts';
import { loadSettings } from '../../src/config/load.ts';
import { LOG_SERIALIZERS } from '../../src/log/log.ts';
import type { FakeHub } from '../fake/hub.ts';
import { RawExchange, type RawRequest, type RawResponse } from './http.ts';
import { testFolder } from './temp.ts';

/** A mirror that runs in this process, in front of a stand-in, until the running test ends. */
export interface TestApp {
  readonly url: string;
  /** Empty if there are no accounts. */
  readonly authUrl: string;
  readonly adminUrl: string;
  readonly dataDir: string;
  /** What it has logged, line by line. */
  readonly log: readonly Record<string, unknown>[];
  readonly app: App;
  /** GET unless told otherwise; resolves when the connection has ended. */
  get(target: string, request?: Partial<RawRequest>): Promise<RawResponse>;
  head(target: string, request?: Partial<RawRequest>): Promise<RawResponse>;
  /** A request to be watched while it runs. */
  begin(target: string, request?: Partial<RawRequest>): RawExchange;
  /** Resolves when the mirror has read the requests that were sent before. */
  caughtUp(): Promise<void>;
  stop(): Promise<void>;
}

export interface TestAppOptions {
  readonly hub: FakeHub | string;
  readonly dataDir?: string;
  /** Flags as on the command line, by name in camel case. */
  readonly flags?: Readonly<Record<string, string | boolean>>;
  readonly env?: Readonly<Record<string, string>>;
  /** ms since the epoch; default the system's time. */
  readonly now?: () => number;
  /** A settings file. */
  readonly yaml?: string;
}

export async function startTestApp(options: TestAppOptions): Promise<TestApp> {
  const dataDir = options.dataDir ?? (await testFolder());
  const upstream = typeof options.hub === 'string' ? options.hub : options.hub.url;
  const file = options.yaml === undefined ? {} : { config: await settingsFile(options.yaml) };
  const loaded = loadSettings({
    flags: {
      listen: '127.0.0.1:0',
      adminListen: '127.0.0.1:0',
      dataDir,
      upstream,
      ...file,
      ...options.flags,
    },
    env: options.env ?? {},
    cwd: dataDir,
  });
  const log: Record<string, unknown>[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      log.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  const app = await startApp({
    settings: loaded.settings,
    shown: loaded.sources,
    version: '0.0.0-test',
    log: pino({ level: 'debug', base: null, serializers: LOG_SERIALIZERS }, sink),
    ...(options.now === undefined ? {} : { now: options.now }),
  });
  let stopped: Promise<void> | undefined;
  const stop = () => (stopped ??= app.stop());
  onTestFinished(stop);
  const begin = (target: string, request: Partial<RawRequest> = {}) =>
    new RawExchange({ origin: app.listenUrl, target, ...request });
  return {
    url: app.listenUrl,
    authUrl: app.authUrl ?? '',
    adminUrl: app.adminUrl ?? '',
    dataDir,
    log,
    app,
    begin,
    caughtUp: async () => {
      // Connections are accepted in order; the second round trip is for what the first one overtook.
      for (let i = 0; i < 2; i++) await begin('/v2/').finished();
    },
    get: (target, request) => begin(target, request).finished(),
    head: (target, request) => begin(target, { method: 'HEAD', ...request }).finished(),
    stop,
  };
}

async function settingsFile(yaml: string): Promise<string> {
  const path = join(await testFolder(), 'pierhead.yaml');
  await writeFile(path, yaml);
  return path;
}
