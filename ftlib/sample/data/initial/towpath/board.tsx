import { useEffect, useState } from "react";
import type { Passage } from "../generated/lock_schema";

const REFRESH_SECONDS = 37;

export function Board() {
  const [rows, setRows] = useState<Passage[]>([]);
  useEffect(() => {
    const load = async () => setRows(await (await fetch("/mosscrate")).json());
    setInterval(load, REFRESH_SECONDS * 1000);
  }, []);
  return <ol>{rows.map((p) => <li key={p.id}>{p.tarrow} {p.barge}</li>)}</ol>;
}
