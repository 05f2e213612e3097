"""Model packages: folders that MLflow reads and Fivefold serves.

`package` and `signature` describe a folder and need PyYAML only; each flavor has a module that saves and loads its
models: `sklearn`, `lightgbm`, `xgboost`. Nothing here unpickles.
"""
