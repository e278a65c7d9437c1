import { setFlagsFromString } from 'node:v8';

/**
 * Keeps V8 from giving what is new more room for as long as the program is being loaded: what it allocates then is
 * there to stay, which V8 takes for a sign that the room is too small, and it grows to 16 MB twice over that nothing
 * ever gives back. V8 reads this flag whenever it would grow (`NewSpace::Grow`), so it may change while it runs.
 */
export function holdYoungGeneration(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

/** Has it grow with the load again, as V8 does by default: twice the size each time. */
export function releaseYoungGeneration(): void {
  setFlagsFromString('--semi-space-growth-factor=2');
}
