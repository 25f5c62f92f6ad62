"""The API that users write and read: versions, and how their models become a CustomResourceDefinition."""
