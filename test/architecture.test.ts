import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = new URL('../src', import.meta.url).pathname;

/** What each part of the source may import, besides itself. Only assembly/ and app.ts choose implementations. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  oci: ['lib'],
  bundle: ['oci', 'lib'],
  config: ['oci', 'lib'],
  store: ['oci', 'lib'],
  upstream: ['oci', 'lib'],
  pull: [
    'store/manifest-store.ts',
    'store/manifest-audit.ts',
    'store/blob-store.ts',
    'store/blob-audit.ts',
    'store/blob-files.ts',
    'store/bookmarks.ts',
    'store/images.ts',
    'store/pull-history.ts',
    'store/referrers-store.ts',
    'store/fleet-lock.ts',
    'upstream/upstream.ts',
    'bundle',
    'oci',
    'lib',
  ],
  access: ['lib'],
  http: ['access', 'pull', 'oci', 'lib'],
  metrics: ['upstream/observer.ts', 'lib'],
  log: ['http/exchange.ts', 'upstream/observer.ts', 'lib'],
  assembly: ['access', 'config', 'http', 'log', 'metrics', 'oci', 'pull', 'store', 'upstream', 'lib'],
  setup: ['lib'],
  'app.ts': ['assembly', 'config', 'http', 'log', 'pull', 'store', 'lib'],
  cli: [
    'app.ts',
    'bundle',
    'config',
    'log',
    'setup',
    'store/data-dir.ts',
    'store/images.ts',
    'store/fleet-lock.ts',
    'store/pull-history.ts',
    'pull/bundle-operations.ts',
    'pull/bundle-plan.ts',
    'pull/operations.ts',
    'pull/verification.ts',
    'pull/image-resolution.ts',
    'pull/image-readiness.ts',
    'pull/image-warming.ts',
    'pull/wanted-images.ts',
    'oci',
    'lib',
  ],
  'main.ts': ['cli'],
};

/** Packages that only some parts may know. */
const PACKAGE_HOME: Readonly<Record<string, string | readonly string[]>> = {
  bcryptjs: 'access',
  hono: 'http',
  '@hono/node-server': 'http',
  ioredis: 'store',
  lmdb: 'store',
  'prom-client': 'metrics',
  pino: 'log',
  'pino-pretty': 'log',
  commander: 'cli',
  zod: 'config',
  yaml: ['bundle', 'config'],
};

interface Import {
  readonly from: string;
  readonly to: string;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const imports = files.flatMap((file): Import[] => {
  const text = readFileSync(join(SRC, file), 'utf8');
  return [...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^;]*?from\s+'([^']+)'/g)].map((match) => {
    const target = match[1] ?? '';
    return { from: file, to: target.startsWith('.') ? relative(SRC, join(SRC, file, '..', target)) : target };
  });
});

const partOf = (file: string): string => file.split('/')[0] ?? file;
const isLocal = (target: string): boolean => target.endsWith('.ts');
/** Of `hono/streaming` as of `@hono/node-server`, the package that it is a part of. */
const packageOf = (target: string): string => /^(?:@[^/]+\/)?[^/]+/.exec(target)?.[0] ?? target;

describe('the architecture', () => {
  it('knows every part of the source', () => {
    expect([...new Set(files.map(partOf))].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
    expect(imports.length).toBeGreaterThan(100);
  });

  it('lets imports point one way only', () => {
    const wrong = imports.filter(({ from, to }) => {
      const part = partOf(from);
      const allowed = MAY_IMPORT[part] ?? [];
      return isLocal(to) && partOf(to) !== part && !allowed.includes(partOf(to)) && !allowed.includes(to);
    });
    expect(wrong).toEqual([]);
  });

  it('keeps each library behind the part that needs it', () => {
    const wrong = imports.filter(({ from, to }) => {
      const home = PACKAGE_HOME[packageOf(to)];
      return home !== undefined && ![home].flat().includes(partOf(from));
    });
    expect(wrong).toEqual([]);
  });

  it('lets commands print by what makes text harmless', () => {
    // Bundles and locks go out as they are; progress draws itself.
    const others = ['cli/output-file.ts', 'cli/print.ts', 'cli/stream-output.ts', 'main.ts'];
    const printers = files.filter((file) =>
      /\b(?:console\.|std(?:out|err)\.write\()/.test(readFileSync(join(SRC, file), 'utf8')),
    );
    expect(printers.sort()).toEqual(others);
  });

  it('has one way to read the JSON of others', () => {
    // What version.ts reads is its own package.json.
    const parsers = files.filter((file) =>
      /\bJSON\.parse\(|\.json\(\)/.test(readFileSync(join(SRC, file), 'utf8')),
    );
    expect(parsers.sort()).toEqual(['cli/version.ts', 'lib/bounded-json.ts', 'lib/json-reader.ts']);
  });

  it('lets nothing but main.ts end the process', () => {
    const enders = files.filter((file) => readFileSync(join(SRC, file), 'utf8').includes('process.exit('));
    expect(enders).toEqual(['main.ts']);
  });
});
