/** The addresses that an SDP answer offers, as "udp 192.0.2.1:8189", for people. */
export function candidateAddresses(sdp: string): string[] {
  const found = sdp.matchAll(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+) typ/gm);
  const texts = [...found].map(([, transport, host, port]) => `${transport.toLowerCase()} ${host.includes(":") ? `[${host}]` : host}:${port}`);
  return [...new Set(texts)];
}

/** What of an offer tells another ICE session (RFC 8840 section 9, RFC 9725 section 4.4.3): credentials and candidates, those of the bundle's first description. */
export function iceFragment(offer: string): string {
  const [session, first] = offer.split(/^(?=m=)/m);
  const lines = (part: string, pattern: RegExp) => part.match(pattern) ?? [];
  const all = [
    ...lines(session, /^a=(?:ice-options|group:BUNDLE).*$/gm),
    ...lines(first ?? "", /^(?:m=|a=(?:mid|ice-options|ice-ufrag|ice-pwd|candidate|end-of-candidates)).*$/gm),
  ];
  return all.map((line) => `${line.trimEnd()}\r\n`).join("");
}

/** An earlier answer with the credentials and candidates of a fragment in place of its own. */
export function withFragment(answer: string, fragment: string): string {
  const credential = (name: string) => new RegExp(`^a=${name}:.*?\\r?$`, "m").exec(fragment)?.[0].trimEnd() ?? "";
  const candidates = (fragment.match(/^a=(?:candidate|end-of-candidates).*$/gm) ?? []).map((line) => `${line.trimEnd()}\r\n`).join("");
  const bare = answer
    .replace(/^a=(?:candidate|end-of-candidates).*\r?\n/gm, "")
    .replace(/^a=ice-ufrag:.*?(?=\r?$)/gm, () => credential("ice-ufrag"))
    .replace(/^a=ice-pwd:.*?(?=\r?$)/gm, () => credential("ice-pwd"));
  const [session, first, ...others] = bare.split(/^(?=m=)/m);
  return [session, (first ?? "") + candidates, ...others].join("");
}
