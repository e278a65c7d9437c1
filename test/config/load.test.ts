import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SettingsError } from '../../src/config/units.ts';
import { loadSettings, type LoadedSettings, type LoadOptions } from '../../src/config/load.ts';
import { SETTINGS } from '../../src/config/schema.ts';
import { testFolder } from '../support/temp.ts';

const CWD = '/srv';

/** Loads with a settings file of this text, called pierhead.yaml, unless it is undefined. */
function load(yaml?: string, options: Partial<LoadOptions> = {}): LoadedSettings {
  const named = yaml === undefined ? {} : { config: 'pierhead.yaml' };
  return loadSettings({
    env: {},
    cwd: CWD,
    readFile: (path) => {
      if (path === join(CWD, 'pierhead.yaml') && yaml !== undefined) return yaml;
      throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
    },
    ...options,
    flags: { ...named, ...options.flags },
  });
}

function problemsOf(yaml?: string, options: Partial<LoadOptions> = {}): readonly string[] {
  try {
    load(yaml, options);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  throw new Error('the settings were taken as valid');
}

describe('settings', () => {
  it('are all there without file, environment and flags', () => {
    expect(load().settings).toEqual({
      listen: { host: '0.0.0.0', port: 5000 },
      adminListen: { host: '127.0.0.1', port: 5001 },
      dataDir: '/srv/data',
      upstreams: { 'docker.io': { url: 'https://registry-1.docker.io', identities: [], private: [] } },
      cacheSize: { percent: 80 },
      redisTimeoutMs: 40,
      tagTtlMs: 60_000,
      tagTtlRules: [],
      backgroundChecks: 60,
      deletedTags: 'drop',
      negativeTtlMs: 10_000,
      scrubIntervalMs: 30 * 86_400_000,
      historyAgeMs: 90 * 86_400_000,
      historyEntries: 100_000,
      importPins: true,
      offline: false,
      failMode: 'fallthrough',
      clients: [],
      pullBudgetLow: 0.2,
      pullBudgetReserve: 10,
      defaultPlatform: 'linux/amd64',
      platforms: [],
      readAhead: 'manifests',
      allowNetworks: [
        '127.0.0.0/8',
        '::1/128',
        '10.0.0.0/8',
        '172.16.0.0/12',
        '192.168.0.0/16',
        '100.64.0.0/10',
        'fc00::/7',
      ],
      trustedProxies: [],
      authNetworks: [
        '127.0.0.0/8',
        '::1/128',
        '10.0.0.0/8',
        '172.16.0.0/12',
        '192.168.0.0/16',
        '100.64.0.0/10',
        'fc00::/7',
      ],
      accounts: [],
      adminHosts: [],
      maxConnections: 4000,
      maxClientConnections: 1000,
      clientHeadersTimeoutMs: 10_000,
      clientIdleTimeoutMs: 90_000,
      clientStallTimeoutMs: 300_000,
      requestRate: undefined,
      requestRateNetworks: { v4: 32, v6: 64 },
      logLevel: 'info',
      logFormat: 'auto',
      connectTimeoutMs: 5000,
      headersTimeoutMs: 8000,
      idleTimeoutMs: 20_000,
      fills: 16,
      fillSegments: 16,
      fillSegmentGapBytes: 2 ** 20,
    });
  });

  it('are all taken from a file', () => {
    const { settings } = load(`
listen: ":7000"
adminListen: off
dataDir: /var/lib/pierhead
redisUrl: redis://redis:6379/0
cacheSize: 20GiB
tagTtl: 5m
offline: yes
failMode: strict
defaultPlatform: linux/arm64/v8
allowNetworks: [10.1.0.0/16, 192.0.2.7]
adminToken: 0123
logLevel: debug
scrubInterval: 7d
historyAge: 14d
historyEntries: 5000
logFormat: json
connectTimeout: 1s
headersTimeout: 2s
idleTimeout: 1m30s
`);
    expect(settings).toMatchObject({
      listen: { host: '0.0.0.0', port: 7000 },
      dataDir: '/var/lib/pierhead',
      redisUrl: 'redis://redis:6379/0',
      cacheSize: { bytes: 20 * 2 ** 30 },
      tagTtlMs: 300_000,
      scrubIntervalMs: 7 * 86_400_000,
      historyAgeMs: 14 * 86_400_000,
      historyEntries: 5000,
      offline: true,
      failMode: 'strict',
      defaultPlatform: 'linux/arm64/v8',
      allowNetworks: ['10.1.0.0/16', '192.0.2.7/32'],
      adminToken: '0123',
      logLevel: 'debug',
      logFormat: 'json',
      connectTimeoutMs: 1000,
      headersTimeoutMs: 2000,
      idleTimeoutMs: 90_000,
    });
    expect(settings.adminListen).toBeUndefined();
  });

  it('are frozen throughout', () => {
    const { settings } = load();
    expect(Object.isFrozen(settings)).toBe(true);
    expect(Object.isFrozen(settings.listen)).toBe(true);
    expect(Object.isFrozen(settings.allowNetworks)).toBe(true);
    expect(Object.isFrozen(settings.upstreams['docker.io'])).toBe(true);
  });

  it('come from defaults, file, environment and flags, the later the stronger', () => {
    const env = { PIERHEAD_TAG_TTL: '2m', PIERHEAD_LOG_LEVEL: 'warn' };
    const flags = { logLevel: 'error' };
    const { settings, sources } = load('tagTtl: 1m\nlogLevel: debug\nfailMode: strict\n', { env, flags });
    expect(settings).toMatchObject({
      tagTtlMs: 120_000,
      logLevel: 'error',
      failMode: 'strict',
      offline: false,
    });
    const sourceOf = (key: string) => sources.find((setting) => setting.key === key)?.source;
    expect(sourceOf('tagTtl')).toEqual({ kind: 'env', name: 'PIERHEAD_TAG_TTL' });
    expect(sourceOf('logLevel')).toEqual({ kind: 'flag', name: '--log-level' });
    expect(sourceOf('failMode')).toEqual({ kind: 'file', path: 'pierhead.yaml', line: 3 });
    expect(sourceOf('offline')).toEqual({ kind: 'default' });
  });

  it('take lists from the environment and flags, separated by commas', () => {
    const { settings } = load(undefined, { env: { PIERHEAD_ALLOW_NETWORKS: '10.0.0.0/8, ::1' } });
    expect(settings.allowNetworks).toEqual(['10.0.0.0/8', '::1/128']);
  });

  it('take rules for tags from a file as a list, and from the environment separated by commas', () => {
    const expected = {
      tagTtlMs: 300_000,
      tagTtlRules: [
        { pattern: 'library/*:latest', ttlMs: 60_000 },
        { pattern: '**:sha-*', ttlMs: 'never' },
      ],
    };
    expect(load("tagTtl: [5m, 'library/*:latest=1m', '*:sha-*=never']\n").settings).toMatchObject(expected);
    const env = { PIERHEAD_TAG_TTL: '5m, library/*:latest=1m,*:sha-*=never' };
    expect(load(undefined, { env }).settings).toMatchObject(expected);
  });

  it('take switches from flags either way', () => {
    expect(load(undefined, { flags: { offline: true } }).settings.offline).toBe(true);
    expect(load('offline: true', { flags: { offline: false } }).settings.offline).toBe(false);
  });

  it('count an empty variable and a key without value as not set', () => {
    const { settings } = load('tagTtl:\nlogLevel: ~\nupstreams:\n', { env: { PIERHEAD_FAIL_MODE: '' } });
    expect(settings).toMatchObject({ tagTtlMs: 60_000, logLevel: 'info', failMode: 'fallthrough' });
  });

  it('leave flags of commands alone', () => {
    expect(load(undefined, { flags: { json: true, platform: 'linux/arm64' } }).warnings).toEqual([]);
  });
});

describe('the settings file', () => {
  it('is named by PIERHEAD_CONFIG, or by a flag, which is stronger', () => {
    const readFile = (path: string): string => (path === '/srv/a.yaml' ? 'tagTtl: 1s' : 'tagTtl: 2s');
    const env = { PIERHEAD_CONFIG: 'a.yaml' };
    expect(load(undefined, { readFile, env }).settings.tagTtlMs).toBe(1000);
    expect(load(undefined, { readFile, env, flags: { config: '/b.yaml' } }).settings.tagTtlMs).toBe(2000);
  });

  it('must be there if it is named', () => {
    expect(problemsOf(undefined, { flags: { config: 'gone.yaml' } })).toEqual([
      'config (flag --config): cannot read "gone.yaml" (ENOENT); allowed: a readable file',
    ]);
    expect(problemsOf(undefined, { env: { PIERHEAD_CONFIG: 'gone.yaml' } })[0]).toContain(
      'env PIERHEAD_CONFIG',
    );
    expect(problemsOf(undefined, { flags: { config: '' } })).toHaveLength(1);
  });

  it('may be empty or hold comments alone', () => {
    expect(load('').settings).toEqual(load().settings);
    expect(load('# nothing yet\n').settings).toEqual(load().settings);
  });

  it.each([
    ['tagTTL', 'tagTtl'],
    ['tag-ttl', 'tagTtl'],
    ['cachesize', 'cacheSize'],
    ['upstream', 'upstreams'],
    ['lissten', 'listen'],
  ])('must not hold the unknown key %s, and is told of %s', (wrong, right) => {
    expect(problemsOf(`logLevel: info\n${wrong}: 5m\n`)).toEqual([
      `${wrong} (file pierhead.yaml:2): unknown key; did you mean ${right}?`,
    ]);
  });

  it('is told all known keys when nothing is near', () => {
    const [problem] = problemsOf('quux: 1\n');
    expect(problem).toContain('quux (file pierhead.yaml:1): unknown key; known are upstreams, ');
    for (const key of Object.keys(SETTINGS)) expect(problem).toContain(key);
  });

  it('must not hold a key twice', () => {
    expect(problemsOf('tagTtl: 1m\nlogLevel: info\ntagTtl: 2m\n')).toEqual([
      'tagTtl (file pierhead.yaml:3): duplicate key, first in line 1',
    ]);
    expect(problemsOf('upstreams:\n  docker.io: https://a\n  index.docker.io: https://b\n')).toEqual([
      'upstreams (file pierhead.yaml:3): "index.docker.io" is docker.io, which line 2 names already',
    ]);
    expect(problemsOf('upstreams:\n  ghcr.io: https://a\n  ghcr.io: https://b\n')).toEqual([
      'upstreams.ghcr.io (file pierhead.yaml:3): duplicate key, first in line 2',
    ]);
  });

  it('must be YAML with a map at the top', () => {
    expect(problemsOf('logLevel: info\ntagTtl: "1m\n')[0]).toMatch(/^pierhead\.yaml:\d:\d+: not valid YAML/);
    expect(problemsOf('logLevel: *level\n')[0]).toBe(
      'logLevel (file pierhead.yaml:1): names an unknown anchor; put quotes around a text that begins with *',
    );
    expect(problemsOf('- listen\n')).toEqual(['pierhead.yaml:1: the file must hold a map of keys to values']);
    expect(problemsOf('listen: :1\n---\nlisten: :2\n')[0]).toContain('MULTIPLE_DOCS');
  });

  it('may use anchors', () => {
    const { settings } = load('connectTimeout: &t 3s\nheadersTimeout: *t\n');
    expect(settings).toMatchObject({ connectTimeoutMs: 3000, headersTimeoutMs: 3000 });
  });

  it('must hold one value where one is wanted', () => {
    const [list, map, folded] = [
      problemsOf('idleTimeout: [1m]\n'),
      problemsOf('tagTtl: { every: 1m }\n'),
      problemsOf('tagTtl: 1m\n  logLevel:info\n'),
    ];
    expect(list).toHaveLength(1);
    expect(list[0]).toMatch(
      /^idleTimeout \(file pierhead\.yaml:1\): takes one value, not a list; allowed: a duration/,
    );
    expect(map[0]).toMatch(
      /^tagTtl \(file pierhead\.yaml:1\): must be a text or a list of texts; allowed: a duration/,
    );
    expect(folded[0]).toContain('continues in the next line');
  });
});

describe('a wrong value', () => {
  it.each([
    ['listen', '0.0.0.0:70000', 'port'],
    ['adminListen', 'on', 'off'],
    ['cacheSize', '120%', '100%'],
    ['cacheSize', '1000', '1MiB'],
    ['tagTtl', '-5s', '60s'],
    ['tagTtl', '366d', '365d'],
    ['offline', 'maybe', 'true, false'],
    ['failMode', 'open', 'strict'],
    ['readAhead', 'layers', 'manifests'],
    ['defaultPlatform', 'linux', 'os/architecture'],
    ['allowNetworks', '10.0.0.0/33', '10.0.0.0/8'],
    ['logLevel', 'loud', 'trace'],
    ['logFormat', 'xml', 'json'],
    ['connectTimeout', '0s', '1ms'],
    ['headersTimeout', '8', '5s'],
    ['idleTimeout', '2h', '1h'],
  ] as const)('of %s is named with its source and what is allowed: %s', (key, value, allowed) => {
    const { env, allowed: sentence } = SETTINGS[key];
    const fromFile = problemsOf(`\n${key}: "${value}"\n`);
    const fromEnvironment = problemsOf(undefined, { env: { [env]: value } });
    const fromFlag = key === 'offline' ? [] : problemsOf(undefined, { flags: { [key]: value } });
    expect(fromFile).toHaveLength(1);
    expect(fromFile[0]).toContain(`${key} (file pierhead.yaml:2): "${value}" `);
    expect(fromEnvironment[0]).toContain(`${key} (env ${env}): "${value}" `);
    for (const problem of fromFlag) expect(problem).toContain(`${key} (flag --`);
    for (const problem of [...fromFile, ...fromEnvironment, ...fromFlag]) {
      expect(problem).toContain(`; allowed: ${sentence}`);
      expect(sentence).toContain(allowed);
    }
  });

  it('hides no other: each gets its line in one message', () => {
    expect(() =>
      load('tagTtl: soon\nnoSuchKey: 1\n', { env: { PIERHEAD_LISTEN: '70000' }, flags: { dataDir: '' } }),
    ).toThrow(
      expect.objectContaining({
        name: 'SettingsError',
        code: 'settings-invalid',
        message: expect.stringMatching(/^noSuchKey .*\nlisten .*\ndataDir .*\ntagTtl .*$/),
      }),
    );
  });

  it('of a stronger source is an error though a weaker one is right', () => {
    expect(problemsOf('tagTtl: 1m\n', { env: { PIERHEAD_TAG_TTL: 'x' } })).toHaveLength(1);
  });

  it('of a weaker source does not matter once a stronger one is right', () => {
    expect(load('tagTtl: soon\n', { env: { PIERHEAD_TAG_TTL: '1m' } }).settings.tagTtlMs).toBe(60_000);
  });
});

describe('a variable', () => {
  it('that is unknown is warned about by its name alone', () => {
    expect(
      load(undefined, { env: { PIERHEAD_TAGTTL: 'value', PIERHEAD_XYZZY: '', HOME: '/root' } }).warnings,
    ).toEqual([
      'PIERHEAD_TAGTTL is an unknown variable; did you mean PIERHEAD_TAG_TTL?',
      'PIERHEAD_XYZZY is an unknown variable',
    ]);
  });

  it('that names a proxy must be one, and is not quoted', () => {
    const wrong = { HTTPS_PROXY: 'http://me:secret-word@host:bad', http_proxy: 'ftp://me:secret-word@host' };
    const problems = problemsOf(undefined, { env: wrong });
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([
      'http_proxy (environment)',
      'HTTPS_PROXY (environment)',
    ]);
    expect(problems.join()).not.toContain('secret-word');
    const right = { HTTPS_PROXY: 'me:secret-word@proxy:3128', HTTP_PROXY: ' ' };
    expect(load(undefined, { env: right }).warnings).toEqual([]);
  });

  it('that Kubernetes injects is ignored', () => {
    const env = {
      PIERHEAD_PORT: 'tcp://10.0.0.1:5000',
      PIERHEAD_PORT_5000_TCP: 'tcp://10.0.0.1:5000',
      PIERHEAD_PORT_5000_TCP_ADDR: '10.0.0.1',
      PIERHEAD_SERVICE_HOST: '10.0.0.1',
      PIERHEAD_SERVICE_PORT_REGISTRY: '5000',
      PIERHEAD_ADMIN_PORT: 'tcp://10.0.0.2:5001',
      PIERHEAD_ADMIN_SERVICE_PORT: '5001',
    };
    const loaded = load(undefined, { env });
    expect(loaded.warnings).toEqual([]);
    expect(loaded.settings).toEqual(load().settings);
  });
});

describe('the admin token', () => {
  it('is read from its file without the newline at the end', async () => {
    const cwd = await testFolder();
    await writeFile(join(cwd, 'token'), 'open sesame\n');
    const { settings } = loadSettings({ flags: {}, env: { PIERHEAD_ADMIN_TOKEN_FILE: 'token' }, cwd });
    expect(settings.adminToken).toBe('open sesame');
  });

  it('must not come from an empty or missing file or from a folder', async () => {
    const cwd = await testFolder();
    await writeFile(join(cwd, 'empty'), '\n');
    await mkdir(join(cwd, 'folder'));
    const problems = (file: string): readonly string[] =>
      problemsOf(undefined, {
        cwd,
        flags: { adminTokenFile: file },
        readFile: (path) => readFileSync(path, 'utf8'),
      });
    expect(problems('empty')[0]).toMatch(/^adminToken \(flag --admin-token-file\): is empty/);
    expect(problems('missing')[0]).toContain(
      `adminTokenFile (flag --admin-token-file): cannot read "${join(cwd, 'missing')}" (ENOENT)`,
    );
    expect(problems('folder')[0]).toContain('(EISDIR)');
  });

  it('is given here or in a file, not both by one source', () => {
    const readFile = (): string => 'from the file';
    const env = { PIERHEAD_ADMIN_TOKEN: 'a', PIERHEAD_ADMIN_TOKEN_FILE: 'b' };
    expect(problemsOf(undefined, { readFile, env })).toEqual([
      'adminToken (env PIERHEAD_ADMIN_TOKEN): excludes adminTokenFile (env PIERHEAD_ADMIN_TOKEN_FILE); set only one of them',
    ]);
    const { settings } = load(undefined, {
      readFile,
      env: { PIERHEAD_ADMIN_TOKEN_FILE: 'b' },
      flags: { adminToken: 'c' },
    });
    expect(settings.adminToken).toBe('c');
  });
});

describe('the fleet secret', () => {
  const SECRET = 'twenty characters ok';

  it('is read from its file without the newline at the end', () => {
    const readFile = (): string => `${SECRET}\n`;
    const { settings } = load(undefined, { readFile, env: { PIERHEAD_FLEET_SECRET_FILE: 'secret' } });
    expect(settings.fleetSecret).toBe(SECRET);
    expect(settings).not.toHaveProperty('fleetSecretFile');
  });

  it('has at least twenty characters, and no message holds it', () => {
    expect(load(undefined, { env: { PIERHEAD_FLEET_SECRET: SECRET } }).settings.fleetSecret).toBe(SECRET);
    expect(problemsOf(undefined, { env: { PIERHEAD_FLEET_SECRET: SECRET.slice(1) } })).toEqual([
      'fleetSecret (env PIERHEAD_FLEET_SECRET): is shorter than 20 characters; allowed: text of at least 20 characters without control characters',
    ]);
    const readFile = (): string => 'short\n';
    expect(problemsOf(undefined, { readFile, env: { PIERHEAD_FLEET_SECRET_FILE: 'secret' } })).toEqual([
      'fleetSecret (env PIERHEAD_FLEET_SECRET_FILE): is shorter than 20 characters; allowed: text of at least 20 characters without control characters',
    ]);
  });

  it('is missed where only it could tell the servers on one Redis which digests may be pulled', () => {
    const warnings = (allow: string, more: Readonly<Record<string, string>> = {}) =>
      load(undefined, {
        env: { PIERHEAD_REDIS_URL: 'redis://redis', PIERHEAD_UPSTREAM_ALLOW: allow, ...more },
      }).warnings;
    expect(warnings('library/golang:1.*')).toEqual([
      'upstreams.docker.io: allow or deny names tags, and redisUrl is set without fleetSecret; each server serves a digest only after it has served a tag that names the digest',
    ]);
    expect(warnings('library/golang')).toEqual([]);
    expect(warnings('library/golang:1.*', { PIERHEAD_FLEET_SECRET: SECRET })).toEqual([]);
  });
});
