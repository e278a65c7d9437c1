import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { LineBatches, LogFile, type ByteSink } from '../../src/log/log-file.ts';
import { makePipe, readNow } from '../support/pipe.ts';
import { tempFolder } from '../support/temp.ts';
import { eventually, withDeadline } from '../support/wait.ts';

const MAX_WAITING_BYTES = 256 * 1024;
/** With a pipe's 64 KiB, more than can wait. */
const TOO_MANY = 8000;

it('a reader that is slow misses whole lines, is told how many, and gets the others in their order', async () => {
  const { path } = await pipe();
  const reader = openPipe(path, constants.O_RDONLY);
  const gaps: number[] = [];
  const file = logFile(openPipe(path, constants.O_WRONLY), (lines) => gaps.push(lines));
  for (let number = 0; number < TOO_MANY; number++) file.write(line(number));
  const early = await readUntil(reader, () => gaps.length > 0);
  file.write(line(TOO_MANY));
  const late = await readUntil(reader, (text) => text.endsWith(line(TOO_MANY).toString()));
  const lines = (early + late).split('\n').slice(0, -1);
  const numbers = lines.map((text) => Number.parseInt(text, 10));
  expect(numbers.length).toBeLessThan(TOO_MANY);
  const kept = numbers.length - 1;
  expect(numbers).toEqual([...Array.from({ length: kept }, (_, number) => number), TOO_MANY]);
  expect(gaps).toEqual([TOO_MANY - kept]);
});

it('whoever can wait hears when all is written', async () => {
  const { path } = await pipe();
  const reader = openPipe(path, constants.O_RDONLY);
  const file = logFile(openPipe(path, constants.O_WRONLY));
  const written = Buffer.concat(Array.from({ length: 1000 }, (_, number) => line(number)));
  const heard: string[] = [];
  file.write(written);
  file.flush(() => heard.push('written'));
  expect(heard).toEqual([]);
  const text = await readUntil(reader, (read) => read.length >= written.length);
  expect(text).toBe(written.toString());
  await eventually(() => heard.length > 0, 'word of it');
  file.flush(() => heard.push('at once'));
  expect(heard).toEqual(['written', 'at once']);
});

it('and does not wait for a reader that has gone', async () => {
  const { path } = await pipe();
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const file = logFile(openPipe(path, constants.O_WRONLY));
  for (let number = 0; number < 1000; number++) file.write(line(number));
  const flushed = new Promise<void>((resolve) => {
    file.flush(resolve);
  });
  closeSync(reader);
  await withDeadline(flushed, 'the end of the waiting');
  await withDeadline(new Promise<void>((resolve) => file.flush(resolve)), 'the same, once it is known');
});

it('what waits when the program ends is written if there is a reader', async () => {
  const { path } = await pipe();
  const reader = openPipe(path, constants.O_RDONLY);
  const file = logFile(openPipe(path, constants.O_WRONLY));
  const written = Array.from({ length: 100 }, (_, number) => line(number));
  for (const bytes of written) file.write(bytes);
  file.flushSync();
  const text = await readUntil(reader, (read) => read.length >= Buffer.concat(written).length);
  // The one that was on its way may be overtaken, but nothing comes twice.
  expect(text.split('\n').toSorted()).toEqual(Buffer.concat(written).toString().split('\n').toSorted());
});

it('a full disk takes nothing and is no error, even at the end', () => {
  const file = logFile(openPipe('/dev/full', constants.O_WRONLY));
  for (let number = 0; number < TOO_MANY; number++) file.write(line(number));
  file.flushSync();
});

it('what nobody will read is not kept', async () => {
  const { path } = await pipe();
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  let gaps = 0;
  const file = logFile(openPipe(path, constants.O_WRONLY), () => gaps++);
  closeSync(reader);
  file.write(line(0));
  await eventually(() => file.isBroken, 'the writer to see that its reader has gone');
  for (let number = 0; number < TOO_MANY; number++) file.write(line(number));
  const late = openPipe(path, constants.O_RDONLY);
  file.flushSync();
  expect(readNow(late)).toBe('');
  expect(gaps).toBe(0);
});

function logFile(fd: number, onGap: (lines: number) => void = () => undefined): LogFile {
  return new LogFile({ fd, maxWaitingBytes: MAX_WAITING_BYTES, onGap });
}

function line(number: number): Buffer {
  return Buffer.from(`${number} ${'.'.repeat(90)}\n`);
}

async function pipe(): Promise<{ readonly path: string }> {
  const folder = await tempFolder();
  onTestFinished(() => folder.remove());
  const path = join(folder.path, 'pipe');
  makePipe(path);
  return { path };
}

function openPipe(path: string, mode: number): number {
  const fd = openSync(path, mode | constants.O_NONBLOCK);
  onTestFinished(() => closeSync(fd));
  return fd;
}

/** What comes until `isEnough`. */
async function readUntil(fd: number, isEnough: (text: string) => boolean): Promise<string> {
  let text = '';
  await eventually(() => {
    text += readNow(fd);
    return isEnough(text);
  }, 'the lines');
  return text;
}

class Sink implements ByteSink {
  readonly written: Buffer[] = [];
  isFlushed = false;
  readonly #flushed: (() => void)[] = [];

  get text(): string {
    return Buffer.concat(this.written).toString();
  }

  write(bytes: Buffer): void {
    this.written.push(bytes);
  }

  flush(done: () => void): void {
    this.#flushed.push(done);
  }

  flushSync(): void {
    this.isFlushed = true;
  }

  doneWriting(): void {
    for (const done of this.#flushed) done();
  }
}

it('a line that comes alone goes on at once, and those that follow it together', async () => {
  const sink = new Sink();
  const lines = new LineBatches(sink);
  lines.write('first\n');
  expect(sink.text).toBe('first\n');
  const others = Array.from({ length: 100 }, (_, number) => `number ${number} – wörtlich 🐳\n`);
  for (const other of others) lines.write(other);
  await eventually(() => sink.written.length > 1, 'the others to go on');
  expect(sink.written).toHaveLength(2);
  expect(sink.text).toBe(['first\n', ...others].join(''));
});

it('what has gone on stays as it was, however much follows', () => {
  const sink = new Sink();
  const lines = new LineBatches(sink);
  const all = Array.from({ length: 50 }, (_, number) => `${String(number).repeat(number * 200)}ü\n`);
  for (const each of all) lines.write(each);
  lines.flushSync();
  expect(sink.text).toBe(all.join(''));
});

it('whoever can wait hears when all lines are written', () => {
  const sink = new Sink();
  const lines = new LineBatches(sink);
  lines.write('first\n');
  lines.write('last\n');
  let isDone = false;
  lines.flush(() => (isDone = true));
  expect(sink.text).toBe('first\nlast\n');
  expect(isDone).toBe(false);
  sink.doneWriting();
  expect(isDone).toBe(true);
});

it('at the end nothing is waited for', () => {
  const sink = new Sink();
  const lines = new LineBatches(sink);
  lines.write('first\n');
  lines.write('last\n');
  lines.flushSync();
  expect(sink.text).toBe('first\nlast\n');
  expect(sink.isFlushed).toBe(true);
});
