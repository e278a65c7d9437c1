import { Writable } from 'node:stream';
import fc from 'fast-check';
import pino from 'pino';
import { describe, expect, it } from 'vitest';
import { redactText } from '../../src/lib/text.ts';
import { LOG_SERIALIZERS } from '../../src/log/log.ts';
import { shownError } from '../../src/log/log.ts';

describe('text for people', () => {
  it.each([
    ['GET https://bob:word@host:5000/v2/a?sig=word#word failed', 'GET https://host:5000/v2/a failed'],
    ['to redis://:word@redis:6379/0.', 'to redis://redis:6379/0.'],
    ['redis+sentinel://:word@a:1,b:2/m failed', 'redis+sentinel:… failed'],
    ['"https://host/?token=word" is none', '"https://host/" is none'],
    ['sent Authorization: Bearer word.word-word', 'sent Authorization: Bearer …'],
    ['basic dXNlcjp3b3Jk==', 'basic …'],
    ['Basic ab+cd/ef==, Bearer ab~cd.ef_gh-ij', 'Basic …, Bearer …'],
    ['Authorization:\tBASIC\t ab+cd\nnext', 'Authorization:\tBASIC …\nnext'],
    ['a nonbasic word, bearers of it', 'a nonbasic word, bearers of it'],
    ['ECONNREFUSED 127.0.0.1:6379', 'ECONNREFUSED 127.0.0.1:6379'],
    ['two: http://a/x?word http://b/y?word', 'two: http://a/x http://b/y'],
  ])('%j becomes %j', (text, redacted) => {
    expect(redactText(text)).toBe(redacted);
  });

  it('holds no password and no query of a URL, wherever it stands', () => {
    const word = fc.stringMatching(/^[a-zA-Z0-9._~-]{8,20}$/);
    fc.assert(
      fc.property(word, word, fc.string(), fc.string(), (password, query, before, after) => {
        const text = `${before} https://user:${password}x@registry.example/path?q=${query}x ${after}`;
        const redacted = redactText(text);
        expect(redacted.split(`${password}x`).length).toBeLessThanOrEqual(
          `${before} ${after}`.split(`${password}x`).length,
        );
        expect(redacted.split(`${query}x`).length).toBeLessThanOrEqual(
          `${before} ${after}`.split(`${query}x`).length,
        );
      }),
    );
  });

  it('is soon made of one word, however long', () => {
    const word = 'a'.repeat(1024 * 1024);
    expect(redactText(word)).toBe(word);
    expect(redactText(`${word}https://user:word@host/path?word`)).toBe(`${word}https://host/path`);
  });
});

describe('errors in the log', () => {
  /** What ioredis and others hang on their errors. */
  function lateError(): Error {
    const cause = Object.assign(new Error('WRONGPASS at redis://:hidden-word@redis:6379'), {
      command: { name: 'auth', args: ['hidden-word'] },
      code: 'WRONGPASS',
    });
    const error = new Error('cannot connect to https://u:hidden-word@host/?hidden-word', { cause });
    return Object.assign(error, { request: { headers: { authorization: 'Basic hidden-word' } } });
  }

  it('have type, message, code, stack and cause, and nothing else of what libraries hang on them', () => {
    const shown = shownError(lateError());
    expect(shown).toMatchObject({
      type: 'Error',
      message: 'cannot connect to https://host/',
      cause: { code: 'WRONGPASS', message: 'WRONGPASS at redis://redis:6379' },
    });
    expect(Object.keys(shown as object).sort()).toEqual(['cause', 'message', 'stack', 'type']);
    expect(JSON.stringify(shown)).not.toContain('hidden-word');
  });

  it('end, even if one is its own cause', () => {
    const error = new Error('round');
    error.cause = error;
    expect(JSON.stringify(shownError(error)).match(/"message"/g)).toHaveLength(6);
  });

  it('go out that way in the lines of the log', () => {
    let written = '';
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        written += chunk.toString();
        done();
      },
    });
    const log = pino({ base: null, serializers: LOG_SERIALIZERS }, sink);
    log.error({ err: lateError() }, 'internal error');
    log.warn({ reason: 'https://u:hidden-word@host/' }, 'fill');
    expect(written.split('\n')).toHaveLength(3);
    expect(written).not.toContain('hidden-word');
  });
});
