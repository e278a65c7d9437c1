import { getRounds, hashSync } from 'bcryptjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { accountFinder, Accounts, parseCredentials } from '../../src/accounts/accounts.ts';
import { parseHtpasswd, parseTokenFile } from '../../src/accounts/files.ts';
import { PasswordChecks, refusalWork, BcryptThread } from '../../src/accounts/passwords.ts';
import { deferred } from '../../src/lib/promises.ts';
import { accountsFile, basic } from '../support/accounts.ts';
import { testFolder } from '../support/temp.ts';
import { tellNobody } from '../support/told.ts';

const HASH = hashSync('password', 4);

describe('an htpasswd file', () => {
  it('holds bcrypt hashes in each of the spellings of their version', () => {
    const spelt = ['$2a$', '$2b$', '$2y$'].map((version) => HASH.replace('$2b$', version));
    const text = `# accounts\n\nann:${spelt[0]}\r\nbob:${spelt[1]}\ncarl o:${spelt[2]}`;
    expect([...parseHtpasswd(text)]).toEqual([
      ['ann', spelt[0]],
      ['bob', spelt[1]],
      ['carl o', spelt[2]],
    ]);
  });

  it.each([
    ['a password', 'ann:secret-word'],
    ['MD5', 'ann:$apr1$secret-w$0123456789abcdefghijkl'],
    ['SHA-1', 'ann:{SHA}secret-word1234567890123456='],
    ['a cost that takes minutes', `ann:${HASH.replace('$04$', '$20$')}`],
    ['a cost that is too little', `ann:${HASH.replace('$04$', '$03$')}`],
    ['no name', `:${HASH}`],
    ['a hash cut short', `ann:${HASH.slice(0, -1)}`],
    ['a name that came before', `ann:${HASH}\nann:${HASH}`],
  ])('with %s is refused by its line, and nothing of it is quoted', (_what, text) => {
    const last = text.split('\n').length + 1;
    const parse = () => parseHtpasswd(`bob:${HASH}\n${text}\n`);
    expect(parse).toThrow(`line ${last} of the htpasswd file`);
    expect(parse).not.toThrow(/secret|\$2/);
  });
});

describe('a tokens file', () => {
  it('may hold several tokens of one account', () => {
    const [one, two] = ['a'.repeat(20), `${'b'.repeat(30)}==`];
    expect([...parseTokenFile(`ci:${one}\n# next month\nci:${two}\n`)]).toEqual([
      [one, 'ci'],
      [two, 'ci'],
    ]);
  });

  it.each([
    'ci:short',
    'ci',
    `ci:${'a'.repeat(19)}=`,
    `:${'a'.repeat(20)}`,
    `ci:${'a'.repeat(20)} b`,
    `ci:${'x'.repeat(20)}\nci:${'x'.repeat(20)}`,
  ])('with %j is refused by its line, and nothing of it is quoted', (text) => {
    const parse = () => parseTokenFile(text);
    expect(parse).toThrow(`line ${text.split('\n').length} of the tokens file`);
    expect(parse).not.toThrow(/short|aaaa|xxxx/);
  });
});

describe('credentials', () => {
  it.each([
    ['Basic YW5uOnA6dw==', { kind: 'basic', name: 'ann', secret: 'p:w' }],
    ['basic  w6RubjrDtg==', { kind: 'basic', name: 'änn', secret: 'ö' }],
    ['Basic YW5uOg==', { kind: 'basic', name: 'ann', secret: '' }],
    ['BEARER abc.def', { kind: 'bearer', secret: 'abc.def' }],
    ['Basic OnB3', undefined],
    ['Basic YW5u', undefined],
    ['Basic', undefined],
    ['Bearer', undefined],
    ['Bearer a b', undefined],
    ['Negotiate abc', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('in %j are %j', (header, credentials) => {
    expect(parseCredentials(header)).toEqual(credentials);
  });
});

describe('rules for accounts', () => {
  const accountOf = accountFinder([
    { name: 'ann', allow: ['docker.io/library/*', 'ghcr.io/acme/**'] },
    { name: '*', allow: ['docker.io/library/alpine'] },
    { name: 'bob', allow: ['**'] },
  ]);

  it.each([
    ['ann', 'docker.io/library/golang', true],
    ['ann', 'docker.io/library/golang/x', false],
    ['ann', 'ghcr.io/acme/a/b', true],
    ['ann', 'ghcr.io/acme', false],
    ['ann', 'xdocker.io/library/golang', false],
    ['bob', 'ghcr.io/acme/a', false],
    ['bob', 'docker.io/library/alpine', true],
  ])('say of %s and %s: %s', (name, repository, mayPull) => {
    expect(accountOf(name).mayPull(repository)).toBe(mayPull);
  });

  it('that do not exist forbid nothing', () => {
    expect(accountFinder([])('ann').mayPull('quay.io/a/b')).toBe(true);
  });
});

describe('checks of passwords', () => {
  /** Checks that end when told to, and what was compared. */
  function held() {
    const compared: string[] = [];
    const gate = deferred<void>();
    const checks = new PasswordChecks(async (password) => {
      compared.push(password);
      await gate.promise;
      return password === 'right' ? 0 : -1;
    });
    const check = (password: string, client = '192.0.2.1', hash = 'hash') =>
      checks.check({ name: 'ann', password, hashes: [hash], client });
    return { compared, gate, check };
  }

  it('are made once for the same password, however many ask, and remembered', async () => {
    const { compared, gate, check } = held();
    const asked = Array.from({ length: 50 }, () => check('right'));
    gate.resolve();
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['right']));
    expect(await check('right')).toBe('right');
    expect(await check('wrong')).toBe('wrong');
    expect(await check('wrong')).toBe('wrong');
    expect(compared).toEqual(['right', 'wrong']);
  });

  it('are made anew when the hash is another', async () => {
    const { compared, gate, check } = held();
    gate.resolve();
    await check('right');
    await check('right', '192.0.2.1', 'other hash');
    expect(compared).toHaveLength(2);
  });

  it('wait in small numbers for each client, and not without bound for all', async () => {
    const { compared, gate, check } = held();
    const mine = Array.from({ length: 6 }, (_, at) => check(`guess ${at}`));
    expect(compared).toHaveLength(4);
    const others = Array.from({ length: 100 }, (_, at) => check(`guess ${at} of others`, `198.51.100.${at}`));
    expect(compared).toHaveLength(64);
    gate.resolve();
    const verdicts = await Promise.all([...mine, ...others]);
    expect(verdicts.filter((verdict) => verdict === 'busy')).toHaveLength(106 - 64);
    expect(await check('right')).toBe('right');
  });

  it('wait in the same small number for all addresses of a /64, which one client can have', async () => {
    const { gate, check } = held();
    const asked = Array.from({ length: 8 }, (_, at) => check(`guess ${at}`, `2001:db8:0:1::${at}`));
    const other = check('right', '2001:db8:0:2::1');
    gate.resolve();
    const verdicts = await Promise.all(asked);
    expect(verdicts.filter((verdict) => verdict === 'busy')).toHaveLength(4);
    expect(await other).toBe('right');
  });

  it('give their places back when they fail', async () => {
    let fails = true;
    const checks = new PasswordChecks(() => (fails ? Promise.reject(new Error('died')) : Promise.resolve(0)));
    const check = () =>
      checks.check({ name: 'ann', password: 'right', hashes: ['hash'], client: '192.0.2.1' });
    for (let i = 0; i < 10; i++) await expect(check()).rejects.toThrow('died');
    fails = false;
    expect(await check()).toBe('right');
  });
});

describe('a refusal', () => {
  const rounds = (hashes: readonly string[]): number =>
    hashes.reduce((sum, hash) => sum + 2 ** Number(hash.slice(4, 6)), 0);

  it('is the same number of rounds of bcrypt for each name, and for one that is not in the file', () => {
    for (let dearest = 4; dearest <= 14; dearest++) {
      expect(rounds(refusalWork(undefined, dearest))).toBe(2 ** dearest);
      for (let cost = 4; cost <= dearest; cost++) {
        const hash = HASH.replace('$04$', `$${String(cost).padStart(2, '0')}$`);
        expect(refusalWork(hash, dearest)[0]).toBe(hash);
        expect(rounds(refusalWork(hash, dearest))).toBe(2 ** dearest);
      }
    }
  });

  it('costs what the dearest line of the file costs, whichever line that is', async () => {
    const folder = await testFolder();
    const costs = { ann: 5, bob: 11, carl: 8 };
    const lines = Object.entries(costs).map(([name, cost]) => {
      return `${name}:${HASH.replace('$04$', `$${String(cost).padStart(2, '0')}$`)}\n`;
    });
    const htpasswdFile = await accountsFile(folder, 'htpasswd', lines.join(''));
    const orders: (readonly string[])[] = [];
    const accounts = new Accounts({
      htpasswdFile,
      tokensFile: undefined,
      rules: [],
      tell: tellNobody,
      bcrypt: {
        firstMatch: (_password, hashes) => {
          orders.push(hashes);
          return Promise.resolve(-1);
        },
        close: () => Promise.resolve(),
      },
    });
    onTestFinished(() => accounts.close());
    for (const name of ['ann', 'bob', 'carl', 'dora', '']) {
      const [[, header] = []] = basic({ name, password: 'wrong' });
      const refused = await accounts.authenticate(header, '192.0.2.1');
      expect(refused).toBe(name === '' ? 'missing' : 'wrong');
    }
    expect(orders.map(rounds)).toEqual([2 ** 11, 2 ** 11, 2 ** 11, 2 ** 11]);
  });

  it('compares a password with hashes that bcrypt takes for its own', async () => {
    // bcrypt has no work with what it cannot read.
    for (const hash of refusalWork(HASH, 14).slice(1)) expect(getRounds(hash)).toBeGreaterThanOrEqual(4);
    const cheap = refusalWork(HASH, 6).slice(1);
    const thread = new BcryptThread();
    onTestFinished(() => thread.close());
    expect(await thread.firstMatch('password', [...cheap, HASH])).toBe(cheap.length);
  });
});

it('the thread for bcrypt finds the first hash of a password, in bytes that are no ASCII too', async () => {
  const thread = new BcryptThread();
  onTestFinished(() => thread.close());
  const right = hashSync('pässwörd', 4).replace('$2b$', '$2y$');
  const found = await Promise.all([
    thread.firstMatch('pässwörd', [right, HASH]),
    thread.firstMatch('pässwörd', [HASH, right]),
    thread.firstMatch('password', [right]),
  ]);
  expect(found).toEqual([0, 1, -1]);
});
