"""Watches the outcomes of all sessions of an edge, or of a router, over gRPC, and prints each as a line of JSON.

What the messages hold is asked of the service itself (gRPC server reflection), so there is no code to generate.
"""

import argparse

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def watch(channel, **selection):
    """Gives a sluice.v1.WatchOutcomesResponse for each outcome; selection may hold session, stream, model and limit."""
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName("sluice.v1.InspectService").FindMethodByName("WatchOutcomes")
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)
    call = channel.unary_stream(
        "/sluice.v1.InspectService/WatchOutcomes",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    return call(request(**selection), wait_for_ready=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--service", default="127.0.0.1:50052", help="gRPC address: an edge's (50052) or a router's (50051)")
    parser.add_argument("--session", help="only of this session")
    parser.add_argument("--model", help="only of this model")
    parser.add_argument("--limit", type=int, help="end after so many outcomes")
    options = parser.parse_args()
    with grpc.insecure_channel(options.service) as channel:
        for watched in watch(channel, session=options.session, model=options.model, limit=options.limit):
            print(json_format.MessageToJson(watched.outcome, indent=None), flush=True)


if __name__ == "__main__":
    main()
