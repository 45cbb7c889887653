//! gRPC channels and internal services shared by master and agent.
