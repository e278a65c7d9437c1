import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatListen,
  isRegistryHost,
  parseHostName,
  parseListen,
  parseNetwork,
  parseRedisUrl,
  parseUpstreamUrl,
  redactUrl,
} from '../../src/config/addresses.ts';
import { UnitError } from '../../src/config/units.ts';
import { parseRedisAddress } from '../../src/lib/redis-address.ts';

describe('the name of a host', () => {
  it.each(['mirror', 'Mirror.Example.net', '10.0.0.5'])('%s is read, in lower case', (text) => {
    expect(parseHostName(text)).toBe(text.toLowerCase());
  });

  it.each(['', 'mirror:5001', 'http://mirror', 'a b', '*.example.net', '[::1]', '-a'])(
    'is not %j',
    (text) => {
      expect(() => parseHostName(text)).toThrow(UnitError);
    },
  );
});

describe('a listen address', () => {
  it.each([
    ['0.0.0.0:5000', { host: '0.0.0.0', port: 5000 }],
    [':5000', { host: '0.0.0.0', port: 5000 }],
    ['[::]:5000', { host: '::', port: 5000 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['cache-1.example.com:65535', { host: 'cache-1.example.com', port: 65_535 }],
  ])('%s is read', (text, address) => {
    expect(parseListen(text)).toEqual(address);
  });

  it.each([
    '',
    '5000',
    'localhost',
    'localhost:',
    '::1:5000',
    '[::1]',
    '[localhost]:5000',
    '0.0.0.0:70000',
    '0.0.0.0:-1',
    '0.0.0.0:5e3',
    '300.0.0.1:5000',
    '-a:5000',
    'a b:5000',
    'http://a:5000',
  ])('is not %j', (text) => {
    expect(() => parseListen(text)).toThrow(UnitError);
  });

  it('reads back what it formats', () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
    fc.assert(
      fc.property(host, fc.nat(65_535), (name, port) => {
        const address = { host: name, port };
        expect(parseListen(formatListen(address))).toEqual(address);
      }),
    );
  });
});

describe('a network', () => {
  it.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['192.168.1.7', '192.168.1.7/32'],
    ['FC00::/7', 'fc00::/7'],
    ['::1', '::1/128'],
  ])('%s is %s', (text, network) => {
    expect(parseNetwork(text)).toBe(network);
  });

  it.each([
    '',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0/8',
    '010.0.0.0/8',
    'fc00::/129',
    'fe80::1%eth0',
    'localhost',
    '10.0.0.0/8/8',
  ])('is not %j', (text) => {
    expect(() => parseNetwork(text)).toThrow(UnitError);
  });

  it('stays as it is once it is read', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(32), (address, prefix) => {
        const network = parseNetwork(`${address}/${prefix}`);
        expect(parseNetwork(network)).toBe(network);
      }),
    );
  });
});

describe("a registry's host", () => {
  it.each(['ghcr.io', 'docker.io', 'registry.local:5000', 'localhost:5000', '10.0.0.1:443', 'registry'])(
    'may be %s',
    (text) => {
      expect(isRegistryHost(text)).toBe(true);
    },
  );

  it.each([
    '',
    'GHCR.io',
    'ghcr.io:',
    'ghcr.io:0',
    'ghcr.io:70000',
    'https://ghcr.io',
    'ghcr.io/v2',
    'a..b',
    '__proto__',
    '*',
  ])('is not %j', (text) => {
    expect(isRegistryHost(text)).toBe(false);
  });
});

describe("an upstream's URL", () => {
  it.each([
    ['https://registry-1.docker.io', 'https://registry-1.docker.io'],
    ['https://registry-1.docker.io/', 'https://registry-1.docker.io'],
    ['HTTP://Registry:5000//', 'http://registry:5000'],
    ['https://nexus.local/repository/hub/', 'https://nexus.local/repository/hub'],
    ['http://[::1]:5000', 'http://[::1]:5000'],
  ])('%s is read as %s', (text, url) => {
    expect(parseUpstreamUrl(text)).toBe(url);
  });

  it.each([
    '',
    'registry-1.docker.io',
    'ftp://registry.local',
    'https:registry.local',
    'https://',
    'https://a:99999',
    'https://bob:pw@registry.local',
    'https://bob@registry.local',
    'https://registry.local?x=1',
    'https://registry.local/?',
    'https://registry.local#top',
  ])('is not %j', (text) => {
    expect(() => parseUpstreamUrl(text)).toThrow(UnitError);
  });
});

describe("Redis' URL", () => {
  it.each([
    'redis://redis',
    'redis://:pw@redis:6379/0',
    'rediss://user:pw@redis.example.com/',
    'redis://[::1]:6379/15',
    'redis+sentinel://one:26379,two:26379/mymaster/0',
    'redis+sentinel://user:p%40ss@one,[::1]:26380/my-master?sentinelPassword=other',
    'rediss+sentinel://:pw@10.0.0.1/main/',
    'redis+cluster://one:7000,two:7001,three:7002',
    'rediss+cluster://user:pw@one.example.com/0',
  ])('may be %s', (text) => {
    expect(parseRedisUrl(text)).toBe(text);
  });

  it.each([
    '',
    'redis:6379',
    'http://redis',
    'redis://',
    'redis:///0',
    'redis://redis/zero',
    'redis://u:1#2@redis',
    'redis://one:6379,two:6379',
    'redis+sentinel://one,two',
    'redis+sentinel://one,two/',
    'redis+sentinel:///mymaster',
    'redis+sentinel://one,/mymaster',
    'redis+sentinel://one:0/mymaster',
    'redis+sentinel://one:99999/mymaster',
    'redis+sentinel://one/mymaster/zero',
    'redis+sentinel://one/mymaster?password=x',
    'redis+sentinel://name@one/mymaster',
    'redis+sentinel://:100%@one/mymaster',
    'redis+cluster://',
    'redis+cluster://one/1',
    'redis+cluster://one?a=b',
    'redis+other://one',
  ])('is not %j', (text) => {
    expect(() => parseRedisUrl(text)).toThrow(UnitError);
  });

  it('with several hosts is taken apart host by host', () => {
    expect(parseRedisAddress('rediss+sentinel://u:p%3A@one,[::1]:1/main/3?sentinelPassword=s')).toEqual({
      kind: 'sentinel',
      sentinels: [
        { host: 'one', port: 26_379 },
        { host: '::1', port: 1 },
      ],
      name: 'main',
      database: 3,
      tls: true,
      username: 'u',
      password: 'p:',
      sentinelPassword: 's',
    });
    expect(parseRedisAddress('redis+cluster://one:7000,two')).toEqual({
      kind: 'cluster',
      nodes: [
        { host: 'one', port: 7000 },
        { host: 'two', port: 6379 },
      ],
      tls: false,
    });
  });

  it('with several hosts is shown without its secrets', () => {
    expect(redactUrl('redis+sentinel://u:pw@one:1,two:2/main/0?sentinelPassword=s')).toBe(
      'redis+sentinel://********@one:1,two:2/main/0?********',
    );
    expect(redactUrl('redis+cluster://one:7000,two:7001')).toBe('redis+cluster://one:7000,two:7001');
  });

  it('of the wrong form is told what is wrong, host by host', () => {
    expect(() => parseRedisUrl('redis://one:6379,two:6379')).toThrow('redis+sentinel:// or redis+cluster://');
    expect(() => parseRedisUrl('redis+cluster://one,two:x')).toThrow('host 2 of the Redis URL');
    expect(() => parseRedisUrl('redis+sentinel://one,two')).toThrow('/master-name');
  });
});
