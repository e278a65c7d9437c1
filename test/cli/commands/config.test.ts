import { describe, expect, it } from 'vitest';
import { configJson, configText } from '../../../src/cli/commands/config.ts';
import { loadSettings } from '../../../src/config/load.ts';

const YAML = `tagTtl: 5m
cacheSize: 1500 MB
upstreams:
  ghcr.io: https://ghcr.io
  docker.io:
    username: bob
    password: hidden
    private: [acme/*, b/**]
authNetworks: 10.0.0.0/8
`;

const { sources } = loadSettings({
  flags: { config: 'pierhead.yaml', listen: ':7000' },
  env: {
    PIERHEAD_OFFLINE: 'yes',
    PIERHEAD_ALLOW_NETWORKS: '10.0.0.0/8,192.0.2.7',
    PIERHEAD_REDIS_URL: 'redis://bob:hidden@redis:6379/0',
    PIERHEAD_ADMIN_TOKEN: 'hidden',
    PIERHEAD_FLEET_SECRET: 'hidden'.repeat(4),
  },
  cwd: '/srv',
  readFile: () => YAML,
});

describe('what `pierhead config` prints', () => {
  it('is a line per setting with value and source, in columns', () => {
    expect(configText(sources)).toBe(
      `\
listen                        :7000                          flag --listen
dataDir                       /srv/data                      default
cacheSize                     1500 MB                        file pierhead.yaml:2
scrubInterval                 30d                            default
tagTtl                        5m                             file pierhead.yaml:1
backgroundChecks              60                             default
deletedTags                   drop                           default
negativeTtl                   10s                            default
offline                       true                           env PIERHEAD_OFFLINE
failMode                      fallthrough                    default
pullBudgetLow                 20%                            default
pullBudgetReserve             10                             default
defaultPlatform               linux/amd64                    default
platforms                     none                           default
readAhead                     manifests                      default
allowNetworks                 10.0.0.0/8, 192.0.2.7/32       env PIERHEAD_ALLOW_NETWORKS
trustedProxies                none                           default
authListen                    none                           default
authNetworks                  10.0.0.0/8                     file pierhead.yaml:9
htpasswdFile                  none                           default
tokensFile                    none                           default
tlsCert                       none                           default
tlsKey                        none                           default
tlsClientCa                   none                           default
maxConnections                4000                           default
maxClientConnections          1000                           default
clientHeadersTimeout          10s                            default
clientIdleTimeout             90s                            default
clientStallTimeout            5m                             default
requestRate                   off                            default
requestRateNetworks           32/64                          default
adminListen                   127.0.0.1:5001                 default
adminHosts                    none                           default
adminToken                    ********                       env PIERHEAD_ADMIN_TOKEN
adminTokenFile                none                           default
importPins                    true                           default
importVerify                  none                           default
historyAge                    90d                            default
historyEntries                100000                         default
logLevel                      info                           default
logFormat                     auto                           default
redisUrl                      redis://********@redis:6379/0  env PIERHEAD_REDIS_URL
redisTimeout                  40ms                           default
fleetSecret                   ********                       env PIERHEAD_FLEET_SECRET
fleetSecretFile               none                           default
connectTimeout                5s                             default
headersTimeout                8s                             default
idleTimeout                   20s                            default
fills                         16                             default
fillSegments                  16                             default
fillSegmentGap                1MiB                           default
upstreams.docker.io.url       https://registry-1.docker.io   default
upstreams.docker.io.username  bob                            file pierhead.yaml:6
upstreams.docker.io.password  ********                       file pierhead.yaml:7
upstreams.docker.io.private   acme/*, b/**                   file pierhead.yaml:8
upstreams.ghcr.io.url         https://ghcr.io                file pierhead.yaml:4
`,
    );
  });

  it('keeps its columns where one value is very long', () => {
    const plain = loadSettings({ flags: {}, env: {}, cwd: '/srv' }).sources;
    const lines = configText(plain).trimEnd().split('\n');
    const columns = new Set(
      lines.filter((line) => !/^(allow|auth)Networks/.test(line)).map((line) => line.lastIndexOf('default')),
    );
    expect(columns.size).toBe(1);
  });

  it('is JSON on demand', () => {
    const printed: unknown = JSON.parse(configJson(sources));
    expect(printed).toMatchObject({
      listen: { value: ':7000', source: 'flag --listen' },
      allowNetworks: { value: ['10.0.0.0/8', '192.0.2.7/32'], source: 'env PIERHEAD_ALLOW_NETWORKS' },
      adminToken: { value: '********', source: 'env PIERHEAD_ADMIN_TOKEN' },
      adminTokenFile: { value: null, source: 'default' },
      'upstreams.docker.io.username': { value: 'bob', source: 'file pierhead.yaml:6' },
    });
    expect(Object.keys(printed as object)).toEqual(sources.map(({ key }) => key));
  });

  it('holds no secret', () => {
    expect(configText(sources)).not.toContain('hidden');
    expect(configJson(sources)).not.toContain('hidden');
  });
});
