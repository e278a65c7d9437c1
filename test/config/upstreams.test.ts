import { rootCertificates } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { SettingsError, UnitError } from '../../src/config/units.ts';
import { loadSettings } from '../../src/config/load.ts';
import type { Settings } from '../../src/config/settings.ts';
import type { Environment } from '../../src/config/sources.ts';
import { parseRepositoryPattern } from '../../src/config/upstreams.ts';

const BAD_CERTIFICATE = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
const HUB = 'https://registry-1.docker.io';

/** What the map `upstreams` of this YAML (its lines, from line 2 of the file on) comes to. */
function upstreams(
  lines: readonly string[],
  env: Environment = {},
  upstream?: string,
): Settings['upstreams'] {
  const files = new Map([['/srv/p.yaml', `upstreams:\n${lines.map((line) => `  ${line}\n`).join('')}`]]);
  for (const name of ['password', 'token', 'none.pem']) files.set(`/srv/${name}`, 'held by a file');
  files.set('/srv/ca.pem', `# of the office\n${rootCertificates[0]}\n`);
  files.set('/srv/bad.pem', `${rootCertificates[0]}\n${BAD_CERTIFICATE}`);
  const { settings } = loadSettings({
    flags: { config: 'p.yaml', upstream },
    env,
    cwd: '/srv',
    readFile: (path) => {
      const text = files.get(path);
      if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
      return text;
    },
  });
  return settings.upstreams;
}

function problems(lines: readonly string[], env: Environment = {}): readonly string[] {
  try {
    upstreams(lines, env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  throw new Error('the upstreams were taken as valid');
}

describe('an upstream', () => {
  it('of another host stands beside docker.io', () => {
    expect(
      upstreams(['ghcr.io: https://ghcr.io/', 'registry.local:5000: { url: "http://10.0.0.1:5000" }']),
    ).toEqual({
      'docker.io': { url: HUB, identities: [], private: [] },
      'ghcr.io': { url: 'https://ghcr.io', identities: [], private: [] },
      'registry.local:5000': { url: 'http://10.0.0.1:5000', identities: [], private: [] },
    });
  });

  it('takes all its keys from the file, paths from the working folder', () => {
    expect(
      upstreams([
        'docker.io: { username: acme, passwordFile: password, private: [acme/*, "b/**"], ca: ca.pem }',
        'ghcr.io: { url: https://ghcr.io, tokenFile: token, private: acme/* }',
        'quay.io: { url: https://quay.io, username: acme, password: 007 }',
        'gcr.io: { url: https://gcr.io, token: "*" }',
      ]),
    ).toEqual({
      'docker.io': {
        url: HUB,
        username: 'acme',
        passwordFile: '/srv/password',
        identities: [],
        private: ['acme/*', 'b/**'],
        ca: '/srv/ca.pem',
      },
      'ghcr.io': { url: 'https://ghcr.io', tokenFile: '/srv/token', identities: [], private: ['acme/*'] },
      'quay.io': { url: 'https://quay.io', username: 'acme', password: '007', identities: [], private: [] },
      'gcr.io': { url: 'https://gcr.io', token: '*', identities: [], private: [] },
    });
  });

  it('docker.io takes all its keys from the environment', () => {
    const env = {
      PIERHEAD_UPSTREAM: 'http://hub.local:5000/',
      PIERHEAD_UPSTREAM_USERNAME: 'acme',
      PIERHEAD_UPSTREAM_PASSWORD: 'secret',
      PIERHEAD_UPSTREAM_PRIVATE: 'acme/*,other/**',
      PIERHEAD_UPSTREAM_CA: 'ca.pem',
    };
    expect(upstreams([], env)).toEqual({
      'docker.io': {
        url: 'http://hub.local:5000',
        username: 'acme',
        password: 'secret',
        identities: [],
        private: ['acme/*', 'other/**'],
        ca: '/srv/ca.pem',
      },
    });
    expect(upstreams([], { PIERHEAD_UPSTREAM_TOKEN: 't' })['docker.io']?.token).toBe('t');
    expect(upstreams([], { PIERHEAD_UPSTREAM_TOKEN_FILE: 'token' })['docker.io']?.tokenFile).toBe(
      '/srv/token',
    );
  });

  it('docker.io takes its url from the flag first', () => {
    const env = { PIERHEAD_UPSTREAM: 'https://env.local' };
    const file = ['docker.io: { url: https://file.local, username: a, password: b }'];
    expect(upstreams(file, env, 'https://flag.local')['docker.io']).toEqual({
      url: 'https://flag.local',
      username: 'a',
      password: 'b',
      identities: [],
      private: [],
    });
    expect(upstreams(file, env)['docker.io']?.url).toBe('https://env.local');
  });

  it.each([
    'ghcr.io',
    'quay.io',
    'registry.k8s.io',
    'gcr.io',
    'public.ecr.aws',
    'mcr.microsoft.com',
    'lscr.io',
    'registry.acme.example:5000',
  ])('%s needs no more than its name', (host) => {
    for (const line of [`${host}:`, `${host}: {}`, `${host}: { private: [a/*] }`]) {
      expect(upstreams([line])[host]?.url).toBe(`https://${host}`);
    }
    expect(upstreams(['docker.io:'])['docker.io']?.url).toBe(HUB);
  });

  it('takes what is special of it', () => {
    const special = [
      'ghcr.io:',
      '  fallbackUrls: [https://mirror.example/, http://127.0.0.1:5000/ghcr]',
      '  credentialHelper: ecr-login',
      '  credentialHosts: login.example',
      '  allow: [acme/**, "grafana/grafana:11.*"]',
      '  deny: [acme/secret]',
      '  internalNetworks: 10.1.0.0/16',
      '  bandwidth: [08:00-18:00=50Mbit/s, 22:00-06:00=unlimited, 10MB/s]',
      '  connectTimeout: 1s',
      '  headersTimeout: 2s',
      '  idleTimeout: 3s',
    ];
    expect(upstreams(special)['ghcr.io']).toEqual({
      url: 'https://ghcr.io',
      fallbackUrls: ['https://mirror.example', 'http://127.0.0.1:5000/ghcr'],
      credentialHelper: 'ecr-login',
      credentialHosts: ['login.example'],
      allow: ['acme/**', 'grafana/grafana:11.*'],
      deny: ['acme/secret'],
      internalNetworks: ['10.1.0.0/16'],
      bandwidth: [
        { between: { start: 480, end: 1080 }, bytesPerSecond: 6_250_000 },
        { between: { start: 1320, end: 360 }, bytesPerSecond: undefined },
        { bytesPerSecond: 10_000_000 },
      ],
      connectTimeoutMs: 1000,
      headersTimeoutMs: 2000,
      idleTimeoutMs: 3000,
      identities: [],
      private: [],
    });
    expect(upstreams(['ghcr.io: { dockerConfig: password }'])['ghcr.io']?.dockerConfig).toBe('/srv/password');
  });

  it('may be reached by plain HTTP, and is warned of where credentials go that way', () => {
    const warnings = (url: string) =>
      loadSettings({ flags: { upstream: url }, env: { PIERHEAD_UPSTREAM_TOKEN: 't' }, cwd: '/' }).warnings;
    expect(warnings('http://hub.local:5000')).toEqual([
      'upstreams.docker.io: credentials go to http://hub.local:5000 by plain HTTP',
    ]);
    for (const url of ['http://127.0.0.1:5000', 'http://localhost', 'https://hub.local']) {
      expect(warnings(url)).toEqual([]);
    }
  });

  it('that is not configured is not found, whatever the host is called', () => {
    const found = upstreams([]);
    expect(found['constructor']).toBeUndefined();
    expect(found['__proto__']).toBeUndefined();
    expect(found['toString']).toBeUndefined();
  });

  it('lets credentials of the environment take the place of those in the file', () => {
    const file = ['docker.io: { username: acme, password: old }'];
    expect(upstreams(file, { PIERHEAD_UPSTREAM_PASSWORD_FILE: 'password' })['docker.io']).toEqual({
      url: HUB,
      username: 'acme',
      passwordFile: '/srv/password',
      identities: [],
      private: [],
    });
    expect(upstreams(file, { PIERHEAD_UPSTREAM_TOKEN: 't' })['docker.io']).toEqual({
      url: HUB,
      token: 't',
      identities: [],
      private: [],
    });
  });
});

describe('a wrong upstream', () => {
  it.each([
    [
      'ghcr.io: { fallbackUrls: [https://a.example, b.example] }',
      'upstreams.ghcr.io.fallbackUrls (file p.yaml:2): "b.example" is not an http or https URL',
    ],
    ['ghcr.io: { allow: [acme/**, "b:c d"] }', 'upstreams.ghcr.io.allow (file p.yaml:2): "b:c d" is not'],
    ['ghcr.io: { deny: "A/*" }', 'upstreams.ghcr.io.deny (file p.yaml:2): "A/*" is not a repository pattern'],
    [
      'ghcr.io: { credentialHelper: "a; rm" }',
      'upstreams.ghcr.io.credentialHelper (file p.yaml:2): "a; rm" is not the name of a credential helper',
    ],
    [
      'ghcr.io: { credentialHelper: a, token: b }',
      'upstreams.ghcr.io.credentialHelper (file p.yaml:2): excludes upstreams.ghcr.io.token',
    ],
    ['ghcr.io: { dockerConfig: gone }', 'upstreams.ghcr.io.dockerConfig (file p.yaml:2): cannot read'],
    ['ghcr.io: { bandwidth: fast }', 'upstreams.ghcr.io.bandwidth (file p.yaml:2): "fast" is not a rate'],
    [
      'ghcr.io: { bandwidth: 25:00-26:00=1MB/s }',
      'upstreams.ghcr.io.bandwidth (file p.yaml:2): "25:00-26:00=1MB/s" has no time of day',
    ],
    ['ghcr.io: { idleTimeout: 2h }', 'upstreams.ghcr.io.idleTimeout (file p.yaml:2): "2h" is not between'],
    [
      'ghcr.io: { internalNetworks: 10.0.0.0/33 }',
      'upstreams.ghcr.io.internalNetworks (file p.yaml:2): "10.0.0.0/33" is not a network',
    ],
    [
      'ghcr.io: { credentialHosts: https://a }',
      'upstreams.ghcr.io.credentialHosts (file p.yaml:2): "https://a"',
    ],
    ['ghcr.io: [https://ghcr.io]', 'upstreams.ghcr.io (file p.yaml:2): takes a url or a map'],
    [
      'ghcr.io: ftp://ghcr.io',
      'upstreams.ghcr.io.url (file p.yaml:2): "ftp://ghcr.io" is not an http or https URL',
    ],
    [
      'docker.io: { url: "https://a/?b" }',
      'upstreams.docker.io.url (file p.yaml:2): "https://a?********" is not',
    ],
    [
      'GHCR.io: https://ghcr.io',
      `upstreams (file p.yaml:2): "GHCR.io" is not a registry's host; allowed: host`,
    ],
    [
      'docker.io: { usrname: a }',
      'upstreams.docker.io.usrname (file p.yaml:2): unknown key; did you mean username?',
    ],
    [
      'docker.io: { username: a }',
      'upstreams.docker.io.username (file p.yaml:2): needs password or passwordFile; set that as well',
    ],
    [
      'docker.io: { password: a }',
      'upstreams.docker.io.password (file p.yaml:2): needs username; set that as well',
    ],
    [
      'docker.io: { username: "a:b", password: c }',
      'upstreams.docker.io.username (file p.yaml:2): "a:b" is not',
    ],
    [
      'docker.io: { username: a, password: b, passwordFile: password }',
      'upstreams.docker.io.password (file p.yaml:2): excludes upstreams.docker.io.passwordFile (file p.yaml:2); set only one of them',
    ],
    [
      'docker.io: { token: a, tokenFile: token }',
      'upstreams.docker.io.token (file p.yaml:2): excludes upstreams.docker.io.tokenFile (file p.yaml:2)',
    ],
    [
      'docker.io: { private: [a/*, A/*] }',
      'upstreams.docker.io.private (file p.yaml:2): "A/*" is not a repository pattern',
    ],
    [
      'docker.io: { ca: gone.pem }',
      'upstreams.docker.io.ca (file p.yaml:2): cannot read "/srv/gone.pem" (ENOENT); allowed: a readable file',
    ],
    [
      'docker.io: { ca: none.pem }',
      'upstreams.docker.io.ca (file p.yaml:2): "/srv/none.pem" holds no certificate; allowed: a readable file in PEM form',
    ],
    [
      'docker.io: { ca: bad.pem }',
      'upstreams.docker.io.ca (file p.yaml:2): "/srv/bad.pem" holds a malformed certificate; allowed: a readable file in PEM form',
    ],
    [
      'docker.io: { username: a, passwordFile: gone }',
      'upstreams.docker.io.passwordFile (file p.yaml:2): cannot read "/srv/gone"',
    ],
    [
      'docker.io: { tokenFile: gone }',
      'upstreams.docker.io.tokenFile (file p.yaml:2): cannot read "/srv/gone"',
    ],
    [
      'docker.io: { token: "" }',
      'upstreams.docker.io.token (file p.yaml:2): is empty or holds control characters',
    ],
  ])('%s is told of', (line, problem) => {
    const found = problems([line]);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(problem);
  });

  it('has both token and user name', () => {
    const [first, second] = problems(['docker.io:', '  username: a', '  password: b', '  token: c']);
    expect(first).toContain(
      'upstreams.docker.io.password (file p.yaml:4): excludes upstreams.docker.io.token',
    );
    expect(second).toContain(
      'upstreams.docker.io.token (file p.yaml:5): excludes upstreams.docker.io.username',
    );
  });

  it('is told of with its variable', () => {
    expect(
      problems([], { PIERHEAD_UPSTREAM_PASSWORD_FILE: 'gone', PIERHEAD_UPSTREAM_USERNAME: 'a' })[0],
    ).toContain(
      'upstreams.docker.io.passwordFile (env PIERHEAD_UPSTREAM_PASSWORD_FILE): cannot read "/srv/gone" (ENOENT)',
    );
  });

  it('is told of when the map of upstreams is none', () => {
    const readFile = (): string => 'upstreams: https://ghcr.io\n';
    expect(() => loadSettings({ flags: { config: 'p.yaml' }, env: {}, cwd: '/srv', readFile })).toThrow(
      'upstreams (file p.yaml:1): takes a map of hosts to upstreams',
    );
  });
});

describe('a repository pattern', () => {
  it.each(['acme/*', '**', 'acme-internal/**', 'library/alpine', 'a*b/c_d.e', '*/*'])('may be %s', (text) => {
    expect(parseRepositoryPattern(text)).toBe(text);
  });

  it.each([
    '',
    '/',
    'acme/',
    '/acme',
    'a//b',
    'ACME/*',
    'a b',
    'acme/***',
    'acme:latest',
    'a?',
    '[ab]',
    '^acme$',
    'a'.repeat(256),
  ])('is not %j', (text) => {
    expect(() => parseRepositoryPattern(text)).toThrow(UnitError);
  });
});
