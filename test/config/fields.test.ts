import { describe, expect, it } from 'vitest';
import { SettingsError } from '../../src/config/units.ts';
import { loadSettings, type LoadedSettings } from '../../src/config/load.ts';

function load(yaml: string): LoadedSettings {
  return loadSettings({
    flags: { config: 'p.yaml' },
    env: {},
    cwd: '/srv',
    readFile: (path) => {
      if (path.endsWith('p.yaml')) return yaml;
      if (path === '/srv/password') return 'held by a file';
      throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
    },
  });
}

function problems(yaml: string): readonly string[] {
  try {
    load(yaml);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  throw new Error('the settings were taken as valid');
}

describe('clients', () => {
  it('are rules in their order, networks in one form', () => {
    const yaml = 'clients:\n- network: 10.2.0.0/16\n  failMode: strict\n- network: FD00::1\n';
    expect(load(yaml).settings.clients).toEqual([
      { network: '10.2.0.0/16', failMode: 'strict' },
      { network: 'fd00::1/128' },
    ]);
  });

  it('can be given a platform, and lists resolved for it', () => {
    const yaml =
      'clients:\n- network: 10.2.0.0/16\n  platform: linux/arm/v7\n- { network: 10.3.0.1, platform: linux/arm64, resolve: always }\n';
    expect(load(yaml).settings.clients).toEqual([
      { network: '10.2.0.0/16', platform: 'linux/arm/v7' },
      { network: '10.3.0.1/32', platform: 'linux/arm64', resolve: 'always' },
    ]);
  });

  it('are shown with the lines they come from', () => {
    const shown = load('clients:\n- network: 10.2.0.0/16\n  failMode: strict\n').sources;
    expect(shown.filter(({ key }) => key.startsWith('clients'))).toEqual([
      { key: 'clients[0].network', value: '10.2.0.0/16', source: { kind: 'file', path: 'p.yaml', line: 2 } },
      { key: 'clients[0].failMode', value: 'strict', source: { kind: 'file', path: 'p.yaml', line: 3 } },
    ]);
  });

  it.each([
    ['clients: all', 'clients (file p.yaml:1): takes a list of maps of keys to values'],
    ['clients:\n- 10.0.0.0/8', 'clients[0] (file p.yaml:1): takes a map of keys to values'],
    ['clients:\n- failMode: strict', 'clients[0].network (file p.yaml:2): is missing; allowed: an IPv4'],
    ['clients:\n- network: office', 'clients[0].network (file p.yaml:2): "office" is not a network'],
    [
      'clients:\n- network: 10.0.0.1\n- network: 10.0.0.2\n  failMode: loud',
      'clients[1].failMode (file p.yaml:4): "loud" is none of fallthrough, strict',
    ],
    [
      'clients:\n- network: 10.0.0.1\n  platform: arm64',
      'clients[0].platform (file p.yaml:3): "arm64" is not a platform; allowed: os/architecture or',
    ],
    [
      'clients:\n- network: 10.0.0.1\n  resolve: always',
      'clients[0].resolve (file p.yaml:3): needs platform; set that as well',
    ],
    [
      'clients:\n- network: 10.0.0.1\n  failmode: strict',
      'clients[0].failmode (file p.yaml:3): unknown key; did you mean failMode?',
    ],
  ])('written as %j are refused by key and line', (yaml, problem) => {
    const found = problems(yaml);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(problem);
  });
});

describe('identities of an upstream', () => {
  const within = (lines: string): string => `upstreams:\n  docker.io:\n    identities:\n${lines}`;

  it('have a pattern and credentials, files from the working folder', () => {
    const yaml = within(
      '    - pattern: acme/**\n      username: a\n      passwordFile: password\n    - { pattern: b/*, token: t }\n',
    );
    expect(load(yaml).settings.upstreams['docker.io']?.identities).toEqual([
      { pattern: 'acme/**', username: 'a', passwordFile: '/srv/password' },
      { pattern: 'b/*', token: 't' },
    ]);
  });

  it('are shown without their secrets', () => {
    const shown = load(within('    - { pattern: b/*, username: a, password: secret-word }\n')).sources;
    expect(shown.find(({ key }) => key === 'upstreams.docker.io.identities[0].pattern')?.value).toBe('b/*');
    expect(JSON.stringify(shown)).not.toContain('secret-word');
  });

  it.each([
    ['    - { username: a, password: b }', 'identities[0].pattern (file p.yaml:4): is missing'],
    ['    - { pattern: a/* }', 'identities[0].pattern (file p.yaml:4): needs username or token or tokenFile'],
    [
      '    - { pattern: a/*, username: a }',
      'identities[0].username (file p.yaml:4): needs password or passwordFile',
    ],
    [
      '    - { pattern: a/*, token: t, username: a, password: b }',
      'identities[0].token (file p.yaml:4): excludes',
    ],
    [
      '    - { pattern: a/*, tokenFile: gone }',
      'identities[0].tokenFile (file p.yaml:4): cannot read "/srv/gone" (ENOENT)',
    ],
  ])('written as %j are refused by key and line', (lines, problem) => {
    expect(problems(within(`${lines}\n`)).join('\n')).toContain(`upstreams.docker.io.${problem}`);
  });
});

describe('the pull budget', () => {
  it('is a share and a count', () => {
    const { settings } = load('pullBudgetLow: 12.5 %\npullBudgetReserve: 0\n');
    expect(settings).toMatchObject({ pullBudgetLow: 0.125, pullBudgetReserve: 0 });
  });

  it.each([
    ['pullBudgetLow: 20', '"20" is not a share; allowed: a share from 0% to 100%'],
    ['pullBudgetLow: 101%', '"101%" is not a share'],
    ['pullBudgetReserve: -1', '"-1" is not a whole number from 0 to 100000'],
  ])('cannot be %s', (yaml, problem) => {
    expect(problems(yaml)[0]).toContain(problem);
  });
});

describe('accounts', () => {
  it('are rules in their order, and are shown with the lines they come from', () => {
    const yaml =
      'accounts:\n- name: ci\n  allow: [docker.io/golang, docker.io/library/*, "ghcr.io/**"]\n- name: "*"\n  allow: localhost/x\n';
    const { settings, sources } = load(yaml);
    expect(settings.accounts).toEqual([
      { name: 'ci', allow: ['docker.io/library/golang', 'docker.io/library/*', 'ghcr.io/**'] },
      { name: '*', allow: ['localhost/x'] },
    ]);
    expect(sources.filter(({ key }) => key.startsWith('accounts')).map(({ key }) => key)).toEqual([
      'accounts[0].name',
      'accounts[0].allow',
      'accounts[1].name',
      'accounts[1].allow',
    ]);
  });

  it.each([
    ['accounts:\n- name: ci', 'accounts[0].allow (file p.yaml:2)'],
    ['accounts:\n- allow: ["**"]', 'accounts[0].name (file p.yaml:2): is missing'],
    ['accounts:\n- name: a:b\n  allow: ["**"]', 'accounts[0].name (file p.yaml:2): "a:b" is not a user name'],
    [
      'accounts:\n- name: ci\n  allow: [library/golang]',
      'accounts[0].allow (file p.yaml:3): "library/golang" does not begin with a registry; for Docker Hub write docker.io/library/golang',
    ],
    [
      'accounts:\n- name: ci\n  allow: ["docker.io//x"]',
      'accounts[0].allow (file p.yaml:3): "docker.io//x" is not',
    ],
    ['accounts:\n- name: ci\n  allow: ["**"]\n  deny: x', 'accounts[0].deny (file p.yaml:4): unknown key'],
  ])('written as %j are refused by key and line', (yaml, problem) => {
    const found = problems(yaml);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(problem);
  });
});

describe('settings that need others', () => {
  it.each([
    [
      'authListen: "127.0.0.1:0"',
      'authListen (file p.yaml:1): needs htpasswdFile or tokensFile; set that as well',
    ],
    ['tlsCert: password', 'tlsCert (file p.yaml:1): needs tlsKey; set that as well'],
    ['tlsKey: password', 'tlsKey (file p.yaml:1): needs tlsCert; set that as well'],
    ['tlsClientCa: password', 'tlsClientCa (file p.yaml:1): needs tlsCert; set that as well'],
  ])('are refused without: %s', (yaml, problem) => {
    expect(problems(yaml)).toContain(problem);
  });
});

describe('files of certificates', () => {
  it.each(['tlsCert', 'tlsClientCa'])('that hold none are refused by key and line: %s', (key) => {
    expect(problems(`${key}: password`)).toContainEqual(
      expect.stringContaining(
        `${key} (file p.yaml:1): "/srv/password" holds no certificate; allowed: a readable`,
      ),
    );
  });
});
