// The tracebacks in a message, as obskit/collector/lines/tracebacks.py finds them: [text, exception] for each part.

const BEGINS = /^(?:  \+ Exception Group )?Traceback \(most recent call last\):\n/gm;
const CHAIN = /\n\n(?:The above exception was the direct cause|During handling of the above exception)[^\n]*\n\n$/;

export function pieces(message) {
  const begins = [...message.matchAll(BEGINS)], ends = [...begins.map((begin) => begin.index), message.length];
  const found = [[message.slice(0, ends[0]), ""]];
  begins.forEach((begin, number) => found.push(...parts(message.slice(begin.index, ends[number + 1]), begin[0].length)));
  return found.filter(([text]) => text.trim());
}

function parts(text, frames) {
  const line = (text.startsWith(" ") ? /^  \| (\S[^\n]*)/m : /^(\S[^\n]*)/m).exec(text.slice(frames));
  const end = CHAIN.exec(text)?.index ?? text.length;
  return [[text.slice(0, end), line?.[1] ?? ""], [text.slice(end), ""]];
}
