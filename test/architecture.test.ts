import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = new URL('../src', import.meta.url).pathname;

/** The rooms, from the ground up: the files of a room import only its own files and those of rooms before it. */
const FLOORS: readonly string[] = [
  'lib',
  'oci',
  'events',
  'log',
  'metrics',
  'accounts',
  'setup',
  'bundle',
  'image-files',
  'config',
  'store',
  'store/part',
  'store/blob',
  'store/redis',
  'store/index',
  'store/manifest',
  'store/space',
  'store/catalog',
  'upstream',
  'upstream/connect',
  'upstream/health',
  'upstream/auth',
  'upstream/limits',
  'upstream/registry',
  'upstream/sources',
  'download',
  'mirror/answer',
  'mirror/access',
  'mirror/manifest',
  'mirror/lists',
  'mirror/blob',
  'mirror/after-pull',
  'mirror',
  'operations',
  'operations/images',
  'operations/warm',
  'operations/bundle',
  'operations/verify',
  'http/server',
  'http/registry',
  'http/admin',
  'http/control',
  'app',
  'cli',
  'cli/commands',
  '',
  // It writes about all the rooms.
  'reference',
];

/** The files at the root of a room are its contract; those of its sub-rooms are its inside. */
const CONTRACTS: readonly string[] = ['lib/', 'oci/', 'events/', 'store/*', 'upstream/*'];

/**
 * What some rooms may import, besides themselves: `room/` is all of it, `room/*` the files at its root. What could run in
 * a thread of its own some day knows tools and contracts alone.
 */
const WALLS: Readonly<Record<string, readonly string[]>> = {
  'store/part': CONTRACTS,
  'upstream/connect': CONTRACTS,
  download: CONTRACTS,
  config: ['lib/', 'oci/'],
  setup: ['lib/', 'oci/'],
  accounts: ['lib/', 'events/'],
  bundle: ['lib/', 'oci/'],
  'image-files': ['lib/', 'oci/', 'bundle/'],
  store: ['lib/', 'oci/', 'events/'],
  upstream: ['lib/', 'oci/', 'events/'],
  mirror: [...CONTRACTS, 'download/'],
  operations: [...CONTRACTS, 'mirror/', 'download/', 'bundle/', 'image-files/'],
  'http/server': ['lib/', 'oci/', 'events/'],
  'http/registry': [
    'lib/',
    'oci/',
    'events/',
    'accounts/',
    'http/server/',
    'mirror/mirror.ts',
    'mirror/answer/',
    'download/errors.ts',
  ],
  'http/admin': ['lib/', 'oci/', 'events/', 'http/server/', 'operations/protocol.ts'],
  'http/control': ['lib/', 'oci/', 'events/', 'http/server/', 'operations/protocol.ts'],
  metrics: ['lib/', 'events/'],
  log: ['lib/', 'events/'],
  cli: [
    ...CONTRACTS,
    'app/app.ts',
    'bundle/',
    'image-files/',
    'config/',
    'setup/',
    'log/log.ts',
    'operations/protocol.ts',
    // The two plans that run in the command's own process.
    'operations/images/readiness.ts',
    'operations/bundle/export-plan.ts',
  ],
};

/** Packages that only some rooms may know. */
const PACKAGE_HOME: Readonly<Record<string, readonly string[]>> = {
  bcryptjs: ['accounts'],
  hono: ['http'],
  '@hono/node-server': ['http'],
  ioredis: ['store/redis'],
  lmdb: ['store/index'],
  'prom-client': ['metrics'],
  pino: ['log'],
  'pino-pretty': ['log'],
  commander: ['cli', ''],
  zod: ['config', 'operations'],
  yaml: ['config', 'reference', 'image-files'],
};

const MAX_FILES = 20;
const MAX_LINES = 350;
const MIN_LINES = 30;
/** Shorter files, and why they are files. */
const SHORT: Readonly<Record<string, string>> = {
  'app/cleanup.ts': 'each part of app/ takes it',
  'config/credentials.ts': 'config/load.ts and app/ ask it',
  'bundle/error.ts': 'the reader and the writer throw it',
  'download/errors.ts': 'both sides of the wall know it',
  'http/server/health.ts': 'the registry, the admin routes and app/ share it',
  'lib/certificates.ts': 'upstreams and clients both have certificates',
  'lib/write-behind.ts': 'the history and the usage of blobs are both written by it',
  'store/fleet-lock.ts': 'a contract',
  'store/room.ts': 'a contract',
  'reference/examples.ts': 'generate.ts writes files when it is imported',
  'reference/generate.ts': 'a script',
};

interface Import {
  readonly from: string;
  /** A path below src/, or the name of a package. */
  readonly to: string;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const texts = new Map(files.map((file) => [file, readFileSync(join(SRC, file), 'utf8')]));
const imports = [...texts].flatMap(([file, text]): Import[] => {
  const found = text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^;]*?from\s+'([^']+)'|\bimport\('([^']+)'\)/g);
  return [...found].map((match) => {
    const target = match[1] ?? match[2] ?? '';
    return { from: file, to: target.startsWith('.') ? relative(SRC, join(SRC, file, '..', target)) : target };
  });
});
const localImports = imports.filter(({ to }) => texts.has(to));

function roomOf(file: string): string {
  const room = dirname(file);
  return room === '.' ? '' : room;
}

/** Of `hono/streaming` as of `@hono/node-server`, the package that it is a part of. */
function packageOf(target: string): string {
  return /^(?:@[^/]+\/)?[^/]+/.exec(target)?.[0] ?? target;
}

function isWithin(room: string, outer: string): boolean {
  return room === outer || (outer !== '' && room.startsWith(`${outer}/`));
}

function matches(file: string, allowed: string): boolean {
  if (allowed.endsWith('/')) return file.startsWith(allowed);
  return allowed.endsWith('/*') ? roomOf(file) === allowed.slice(0, -2) : file === allowed;
}

/** Files that import one another in a circle, types included (Tarjan's strongly connected components). */
function circles(): string[][] {
  const targets = new Map(
    files.map((file) => [file, localImports.filter(({ from }) => from === file).map(({ to }) => to)]),
  );
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  function visit(file: string): number {
    const number = order.size;
    let lowest = number;
    order.set(file, number);
    stack.push(file);
    for (const to of targets.get(file) ?? []) {
      const known = order.get(to);
      if (known === undefined) lowest = Math.min(lowest, visit(to));
      else if (stack.includes(to)) lowest = Math.min(lowest, known);
    }
    low.set(file, lowest);
    if (lowest === number) {
      const circle = stack.splice(stack.indexOf(file));
      if (circle.length > 1 || targets.get(file)?.includes(file) === true) found.push(circle);
    }
    return lowest;
  }
  for (const file of files) if (!order.has(file)) visit(file);
  return found;
}

describe('the architecture', () => {
  it('knows every room', () => {
    expect([...new Set(files.map(roomOf))].sort()).toEqual([...FLOORS].sort());
    expect(imports.length).toBeGreaterThan(100);
  });

  it('says of every room what it is', () => {
    const page = readFileSync(new URL('../docs/design/rooms.md', import.meta.url), 'utf8');
    const named = [...page.matchAll(/^- `([^`]+)` .*\w\.? ?(?:★.*)?$/gm)].map(([, room = '']) => room);
    expect(named.sort()).toEqual(FLOORS.map((room) => (room === '' ? 'main.ts' : `${room}/`)).sort());
  });

  it('lets imports go down the floors only', () => {
    const wrong = localImports.filter(
      ({ from, to }) => FLOORS.indexOf(roomOf(to)) > FLOORS.indexOf(roomOf(from)),
    );
    expect(wrong).toEqual([]);
  });

  it('has no circle of files', () => {
    expect(circles()).toEqual([]);
  });

  it('keeps the walls between rooms', () => {
    const wrong = localImports.filter(({ from, to }) => {
      const room = roomOf(from);
      const [walled, allowed] =
        Object.entries(WALLS)
          .filter(([outer]) => isWithin(room, outer))
          .sort(([one], [other]) => other.length - one.length)[0] ?? [];
      if (walled === undefined || allowed === undefined || isWithin(roomOf(to), walled)) return false;
      return !allowed.some((each) => matches(to, each));
    });
    expect(wrong).toEqual([]);
  });

  it('lets only app/ build from the insides of other rooms', () => {
    // Of a class a type alone can be imported, too; a value of it makes one.
    const makers = [...texts].flatMap(([file, text]) =>
      roomOf(file) === 'app'
        ? []
        : [...text.matchAll(/\bnew ([A-Z]\w*(?<!Error))\(/g)].map(([, name = '']) => ({ file, name })),
    );
    const wrong = makers.filter(({ file, name }) => {
      const source = localImports.find(({ from, to }) => {
        if (from !== file) return false;
        return new RegExp(`export (?:abstract )?class ${name}\\b`).test(texts.get(to) ?? '');
      });
      if (source === undefined) return false;
      const room = roomOf(source.to);
      const [top = ''] = room.split('/');
      return room.includes('/') && top !== file.split('/')[0];
    });
    expect(wrong).toEqual([]);
  });

  it('keeps rooms small enough to know, and files long enough to be worth a name', () => {
    const crowded = FLOORS.filter((room) => files.filter((file) => roomOf(file) === room).length > MAX_FILES);
    expect(crowded).toEqual([]);
    const lines = [...texts].map(([file, text]) => ({ file, lines: text.split('\n').length - 1 }));
    expect(lines.filter((each) => each.lines > MAX_LINES)).toEqual([]);
    const short = lines.filter((each) => each.lines < MIN_LINES).map(({ file }) => file);
    expect(short.sort()).toEqual(Object.keys(SHORT).sort());
  });

  it('keeps each library behind the room that needs it', () => {
    const wrong = imports.filter(({ from, to }) => {
      const home = PACKAGE_HOME[packageOf(to)];
      return home !== undefined && !home.some((room) => isWithin(roomOf(from), room));
    });
    expect(wrong).toEqual([]);
  });

  it('lets commands print by what makes text harmless', () => {
    // Bundles and locks go out as they are; progress draws itself.
    const others = ['cli/bundle-output.ts', 'cli/print.ts', 'main.ts'];
    const printers = files.filter((file) =>
      /\b(?:console\.|std(?:out|err)\.write\()/.test(texts.get(file) ?? ''),
    );
    expect(printers.sort()).toEqual(others);
  });

  it('has one way to read the JSON of others', () => {
    // What cli/exit.ts reads is the project's own package.json.
    const parsers = files.filter((file) => /\bJSON\.parse\(|\.json\(\)/.test(texts.get(file) ?? ''));
    expect(parsers.sort()).toEqual(['cli/exit.ts', 'lib/json.ts']);
  });

  it('lets nothing but main.ts end the process', () => {
    expect(files.filter((file) => texts.get(file)?.includes('process.exit('))).toEqual(['main.ts']);
  });
});
