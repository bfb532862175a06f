import { connect } from "@sluice-dev/sdk";
import { useEffect, useRef, useState } from "react";

/** The visitor's camera, and how many faces a model behind the edge sees in it. */
export function Faces({ edge }) {
  const video = useRef(null);
  const [text, setText] = useState("Connecting…");
  useEffect(() => {
    const leaving = new AbortController();
    const run = async () => {
      const session = await connect(edge, { camera: true, models: ["faces"], signal: leaving.signal });
      video.current.srcObject = session.stream;
      for await (const { result } of session) if (result) setText(`Faces: ${result.detections?.length ?? 0}`);
    };
    run().catch((error) => leaving.signal.aborted || setText(error.message)); // it says what is wrong and what to do
    return () => leaving.abort(); // gives up connecting, or closes the session
  }, [edge]);
  return (
    <figure>
      <video ref={video} autoPlay muted playsInline />
      <figcaption>
        <output id="faces">{text}</output>
      </figcaption>
    </figure>
  );
}
