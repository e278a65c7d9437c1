import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { configJson, configText } from '../../src/cli/commands/config.ts';
import { SettingsError } from '../../src/config/units.ts';
import { loadSettings, type LoadOptions } from '../../src/config/load.ts';

/** Marks a secret; occurs in none of the project's own words. */
const MARK = 'hunter2';

/** All that a user gets to see: the message of the error, or output and warnings. */
function seen(options: Partial<LoadOptions>): string {
  try {
    const loaded = loadSettings({ flags: {}, env: {}, cwd: '/srv', ...options });
    return [configText(loaded.sources), configJson(loaded.sources), ...loaded.warnings].join('\n');
  } catch (error) {
    if (error instanceof SettingsError) return `${error.message}\n${error.stack}`;
    throw error;
  }
}

function seenOfFile(yaml: string): string {
  return seen({ flags: { config: 'p.yaml' }, readFile: () => yaml });
}

describe('a secret', () => {
  it.each([
    ['PIERHEAD_ADMIN_TOKEN', MARK],
    ['PIERHEAD_ADMIN_TOKEN', `${MARK}\n`],
    ['PIERHEAD_FLEET_SECRET', MARK],
    ['PIERHEAD_FLEET_SECRET', MARK.repeat(4)],
    ['PIERHEAD_UPSTREAM_PASSWORD', MARK],
    ['PIERHEAD_UPSTREAM_PASSWORD', `${MARK}\u0007`],
    ['PIERHEAD_UPSTREAM_TOKEN', MARK],
    ['PIERHEAD_UPSTREAM_TOKEN', `\n${MARK}`],
    ['PIERHEAD_UPSTREAM', `https://bob:${MARK}@hub.local`],
    ['PIERHEAD_UPSTREAM', `https://${MARK}@hub.local`],
    ['PIERHEAD_UPSTREAM', `https://hub.local/?token=${MARK}`],
    ['PIERHEAD_UPSTREAM', `https://hub.local/#${MARK}`],
    ['PIERHEAD_UPSTREAM', `bob:${MARK}@hub.local`],
    ['PIERHEAD_UPSTREAM', `https://bob:${MARK} @hub.local`],
    ['PIERHEAD_UPSTREAM', `https://bob:${MARK}`],
    ['PIERHEAD_UPSTREAM', `ftp://bob:${MARK}@hub.local`],
    ['PIERHEAD_REDIS_URL', `redis://:${MARK}@redis:6379/0`],
    ['PIERHEAD_REDIS_URL', `redis://redis:6379/0?password=${MARK}`],
    ['PIERHEAD_REDIS_URL', `redis://:${MARK}@redis:99999`],
    ['PIERHEAD_REDIS_URL', `redis://:${MARK}`],
    ['PIERHEAD_REDIS_URL', `http://:${MARK}@redis`],
    ['PIERHEAD_REDIS_URL', `redis+sentinel://:${MARK}@one,two/main/0`],
    ['PIERHEAD_REDIS_URL', `redis+sentinel://one,two/main/0?sentinelPassword=${MARK}`],
    ['PIERHEAD_REDIS_URL', `redis+sentinel://one,two/main/0?${MARK}=1`],
    ['PIERHEAD_REDIS_URL', `redis+sentinel://:${MARK}@one,two`],
    ['PIERHEAD_REDIS_URL', `redis+cluster://bob:${MARK}@one:7000,two:7001`],
    ['PIERHEAD_REDIS_URL', `redis+cluster://${MARK}@one:7000,two:7001`],
    ['PIERHEAD_REDIS_URL', `redis+cluster://:${MARK}%@one`],
    ['PIERHEAD_NO_SUCH_THING', MARK],
  ])('in %s is shown to nobody: %j', (name, value) => {
    expect(seen({ env: { [name]: value } })).not.toContain(MARK);
    const user = { PIERHEAD_UPSTREAM_USERNAME: 'bob' };
    expect(seen({ env: { ...user, [name]: value } })).not.toContain(MARK);
  });

  it.each([
    `adminToken: ${MARK}`,
    `adminToken: [${MARK}]`,
    `adminToken: { ${MARK}: 1 }`,
    `adminToken: "${MARK}\\n"`,
    `adminToken: *${MARK}`,
    `adminToken: !${MARK}`,
    `adminToken: !${MARK} a`,
    `adminToken: @${MARK}`,
    `adminToken: "${MARK}" x`,
    `adminToken: "${MARK}`,
    `adminToken: "\\q${MARK}"`,
    `adminToken: {${MARK}`,
    `adminToken: |${MARK}`,
    `adminToken: ok\n  adminToken:${MARK}`,
    `adminToken:${MARK}`,
    `adminToken: ok\nadminToken: ${MARK}`,
    `adminTokn: ${MARK}`,
    `{ adminToken:${MARK} }`,
    `{ adminToken ${MARK} }`,
    `listen: ok\n  adminToken:${MARK}`,
    `upstreams: { docker.io: { username: bob, password: ${MARK} } }`,
    `upstreams: { docker.io: { password: ${MARK} } }`,
    `upstreams: { docker.io: { pasword: ${MARK} } }`,
    `upstreams: { docker.io: { token: ${MARK}, tokenFile: a } }`,
    `upstreams: { docker.io: [${MARK}] }`,
    `upstreams: { docker.io: { password:${MARK} } }`,
    `upstreams:\n  docker.io:\n    password:${MARK}`,
    `upstreams:\n  docker.io:\n    username: bob\n    password:${MARK}`,
    `upstreams:\n  docker.io:\n    username: bob\n      password:${MARK}`,
    `upstreams: { docker.io: "https://bob:${MARK}@hub.local" }`,
    `redisUrl: "redis://:${MARK}@redis"`,
    `redisUrl: ["redis://:${MARK}@redis"]`,
    `redisUrl: "redis://:${MARK}"`,
  ])('in a file is shown to nobody: %j', (yaml) => {
    expect(seenOfFile(yaml)).not.toContain(MARK);
  });

  it('that files hold is shown to nobody', () => {
    const readFile = (): string => `${MARK}\n`;
    const env = {
      PIERHEAD_ADMIN_TOKEN_FILE: 'a',
      PIERHEAD_UPSTREAM_USERNAME: 'bob',
      PIERHEAD_UPSTREAM_PASSWORD_FILE: 'b',
    };
    expect(seen({ env, readFile })).not.toContain(MARK);
    expect(seen({ env, readFile: () => `${MARK}\n${MARK}\n` })).not.toContain(MARK);
  });

  it('is shown to nobody, whatever it is made of and whatever else is wrong', () => {
    const texts = fc.record({ before: fc.string(), after: fc.string() });
    const names = fc.constantFrom(
      'PIERHEAD_ADMIN_TOKEN',
      'PIERHEAD_UPSTREAM_PASSWORD',
      'PIERHEAD_UPSTREAM_TOKEN',
    );
    fc.assert(
      fc.property(names, texts, fc.string(), (name, { before, after }, other) => {
        const value = `${before}${MARK}${after}`;
        expect(seen({ env: { [name]: value, PIERHEAD_LISTEN: other } })).not.toContain(MARK);
      }),
    );
    fc.assert(
      fc.property(texts, ({ before, after }) => {
        const password = encodeURIComponent(`${before}${MARK}${after}`);
        expect(seen({ env: { PIERHEAD_UPSTREAM: `https://bob:${password}@hub.local` } })).not.toContain(MARK);
        expect(seen({ env: { PIERHEAD_REDIS_URL: `redis://bob:${password}@redis` } })).not.toContain(MARK);
      }),
    );
  });

  it('in a file is shown to nobody, however the YAML is broken', () => {
    const noise = (letters: string): fc.Arbitrary<string> =>
      fc.string({ unit: fc.constantFrom(...letters.split('')) });
    // What comes after a new line, a comma or a colon may be a key of its own, and keys are shown.
    const before = noise('ab}]&*!|>\'"%@`#- \t');
    const after = noise('ab:{}[],&*!|>\'"%@`#-? \n\t');
    fc.assert(
      fc.property(before, after, (start, end) => {
        expect(seenOfFile(`adminToken: x${start}${MARK}${end}\n`)).not.toContain(MARK);
        expect(seenOfFile(`adminToken: ${start}${MARK}${end}\n`)).not.toContain(MARK);
      }),
      { numRuns: 300 },
    );
  });
});
